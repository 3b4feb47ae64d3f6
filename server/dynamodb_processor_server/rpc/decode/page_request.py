"""Decodes requests for pages, apart from the query itself, once for equal requests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import QueryRequest, StreamQueryRequest
from dynamodb_processor_server.errors import FieldViolation
from dynamodb_processor_server.reader import NO_BUDGET, Budget, CachePolicy
from dynamodb_processor_server.rpc.decode.query import parse_call_options, parse_total
from dynamodb_processor_server.rpc.decode.violations import Violations

#: Bytes of the largest query whose plan is cached.
MAX_CACHED_QUERY_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True)
class RawQuerySpec:
    """A `QuerySpec` as received.

    Equal specs have equal `key`s. The key is None where the query is too large for its plan to be
    cached. `size` is in bytes.
    """

    table: str
    size: int
    key: bytes | None
    _large: QuerySpec | None  # the message where there is no key

    @property
    def message(self) -> QuerySpec:
        """The message, which must not be changed.

        It is parsed anew from `key`, in 2 µs for a query that is planned: specs are cached with
        their requests, and a message takes 1,300 bytes where its key takes 150.
        """
        return QuerySpec.FromString(self.key or b"") if self._large is None else self._large

    @classmethod
    def of(cls, message: QuerySpec) -> RawQuerySpec:
        """Return the spec of a message, which must not be changed afterwards."""
        size = message.ByteSize()
        # Serializing a large message in sorted order takes longer than parsing it did.
        cached = size <= MAX_CACHED_QUERY_BYTES
        key = message.SerializeToString(deterministic=True) if cached else None
        table = sys.intern(message.table) if cached else message.table
        return cls(table, size, key, None if cached else message)


@dataclass(slots=True)
class PageRequest:
    """A `Query` or `StreamQuery` request whose spec is parsed later, when it is planned.

    Attributes:
        token_field: The field that held `token`.
        total: Bound on the number of items of the total, 0 for no bound, None for no total.
        violations: The violations found so far.
        resume_points: The resume points that `rpc.page_cursors` remembers with the request. They
            are the only field that changes.
    """

    spec: RawQuerySpec
    page_size: int
    token: str
    token_field: str
    budget: Budget
    cache: CachePolicy
    total: int | None
    violations: tuple[FieldViolation, ...]
    resume_points: tuple[Any, ...] = field(default=(), compare=False, repr=False)

    @property
    def is_plain(self) -> bool:
        """Whether it asks for a page as it is cached, and for nothing else."""
        return self.total is None and self.budget is NO_BUDGET


def _read_query(request: QueryRequest) -> PageRequest:
    return _page_request(request, "page_token", request.page_token)


def _read_stream(request: StreamQueryRequest) -> PageRequest:
    return _page_request(request, "resume_token", request.resume_token)


def _page_request(
    request: QueryRequest | StreamQueryRequest, token_field: str, token: str
) -> PageRequest:
    violations = Violations()
    budget, cache = parse_call_options(request, violations)
    total = parse_total(request, violations)
    return PageRequest(
        spec=RawQuerySpec.of(request.query),
        page_size=request.page_size,
        token=token,
        token_field=token_field,
        budget=budget,
        cache=cache,
        total=total,
        violations=violations.found,
    )


def is_kept(request: PageRequest) -> bool:
    """Return whether a request is cached; a refused one is not, as it will not be repeated."""
    return not request.violations


#: Decoders, by method, of requests that are often repeated; see `method_handlers.service_handler`.
REQUEST_DECODERS: Final[Mapping[str, Callable[[Any], object]]] = MappingProxyType(
    {"Query": _read_query, "StreamQuery": _read_stream}
)
