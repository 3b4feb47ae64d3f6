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
from dynamodb_processor_server.rpc.decode.freshness import RequestedFreshness, parse_freshness
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

    message: QuerySpec  # which must not be changed
    size: int
    key: bytes | None

    @property
    def table(self) -> str:
        """The logical name of the table."""
        return self.message.table

    @classmethod
    def of(cls, message: QuerySpec) -> RawQuerySpec:
        """Return the spec of a message, which must not be changed afterwards."""
        size = message.ByteSize()
        # Serializing a large message in sorted order takes longer than parsing it did.
        cached = size <= MAX_CACHED_QUERY_BYTES
        key = message.SerializeToString(deterministic=True) if cached else None
        return cls(message, size, key)


@dataclass(slots=True)
class PageRequest:
    """A `Query` or `StreamQuery` request whose query and token are read when it is planned.

    Attributes:
        received: The message, or its bytes if it is cached by them: the message would take ten
            times as much memory, and parsing it again takes 3 µs.
        kind: The type of the message.
        table: The logical name of the table.
        freshness: The bounds on the freshness of the answer as received, None for none.
        total: Bound on the number of items of the total, 0 for no bound, None for no total.
        violations: The violations found so far.
        resume_points: The resume points that `rpc.page_cursors` remembers with the request. They
            are the only field that changes.
    """

    received: QueryRequest | StreamQueryRequest | bytes
    kind: type[QueryRequest | StreamQueryRequest]
    table: str
    page_size: int
    budget: Budget
    cache: CachePolicy
    freshness: RequestedFreshness | None
    total: int | None
    violations: tuple[FieldViolation, ...]
    resume_points: tuple[Any, ...] = field(default=(), compare=False, repr=False)

    @property
    def message(self) -> QueryRequest | StreamQueryRequest:
        """The message, which must not be changed."""
        received = self.received
        return self.kind.FromString(received) if isinstance(received, bytes) else received

    @property
    def is_plain(self) -> bool:
        """Whether it asks for a page as it is cached, and for nothing else."""
        return self.total is None and self.budget is NO_BUDGET


def token_of(message: QueryRequest | StreamQueryRequest) -> tuple[str, str]:
    """Return the page token of a request, and the name of its field."""
    if isinstance(message, QueryRequest):
        return message.page_token, "page_token"
    return message.resume_token, "resume_token"


def _read(message: QueryRequest | StreamQueryRequest, data: bytes) -> PageRequest:
    violations = Violations()
    budget, cache = parse_call_options(message, violations)
    is_small = len(data) <= MAX_CACHED_QUERY_BYTES
    table = message.query.table
    return PageRequest(
        received=data if is_small else message,
        kind=type(message),
        table=sys.intern(table) if is_small else table,
        page_size=message.page_size,
        budget=budget,
        cache=cache,
        freshness=parse_freshness(message, violations),
        total=parse_total(message, violations),
        violations=violations.found,
    )


def is_kept(request: PageRequest) -> bool:
    """Return whether a request is cached; a refused one is not, as it will not be repeated."""
    return not request.violations


#: Decoders, by method, of requests that are often repeated; see `method_handlers.service_handler`.
REQUEST_DECODERS: Final[Mapping[str, Callable[[Any, bytes], object]]] = MappingProxyType(
    {"Query": _read, "StreamQuery": _read}
)
