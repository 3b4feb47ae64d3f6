"""What requests for pages say, apart from the query itself, read once for equal requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import QueryRequest, StreamQueryRequest
from dynamodb_processor_server.errors import FieldViolation
from dynamodb_processor_server.pager.pager import Budget
from dynamodb_processor_server.reader import CachePolicy
from dynamodb_processor_server.rpc.decode.query import parse_call_options, parse_total
from dynamodb_processor_server.rpc.decode.violations import Violations

#: Bytes of a query whose plan is remembered.
MAX_CACHED_QUERY_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True)
class RawQuerySpec:
    """A `QuerySpec` as received.

    `key` is the same for equal ones; None where the query is too large for its plan to be
    remembered. `size` is in bytes.
    """

    message: QuerySpec
    table: str
    size: int
    key: bytes | None

    @classmethod
    def of(cls, message: QuerySpec) -> RawQuerySpec:
        """Return the spec of a message, which is not to be changed any more."""
        size = message.ByteSize()
        # Serializing a large message in sorted order takes longer than parsing it did.
        cached = size <= MAX_CACHED_QUERY_BYTES
        key = message.SerializeToString(deterministic=True) if cached else None
        return cls(message, message.table, size, key)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A `Query` or `StreamQuery`, of which the spec is looked into when it is planned.

    `token_field` is the field that `token` comes from. `total` is up to how many items are to be
    counted besides, 0 for all, None for none. `violations` are those found so far. `openings` is
    what `rpc.openings` remembers with a request.
    """

    spec: RawQuerySpec
    page_size: int
    token: str
    token_field: str
    budget: Budget
    cache: CachePolicy
    total: int | None
    violations: tuple[FieldViolation, ...]
    openings: dict[tuple[int, bytes, str], Any] = field(
        default_factory=dict, compare=False, repr=False
    )


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
    """Return whether a request is remembered: not if it was refused, so will not come again."""
    return not request.violations


#: How the methods whose requests often come again read them, by name; see `wire.service_handler`.
REQUEST_DECODERS: Final[Mapping[str, Callable[[Any], object]]] = MappingProxyType(
    {"Query": _read_query, "StreamQuery": _read_stream}
)
