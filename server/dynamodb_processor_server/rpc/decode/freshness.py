"""Decodes the bounds on the freshness of answers that a request has."""

from __future__ import annotations

from typing import Final, NamedTuple

from dynamodb_processor.v1.query_pb2 import CachePolicy
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    CountItemsRequest,
    QueryRequest,
    StreamQueryRequest,
)
from dynamodb_processor_server.rpc.decode.violations import Violations

#: Between two tokens; no token has one.
SEPARATOR: Final = "."
_MAX_TOKENS: Final = 100
# Of google.protobuf.Timestamp: from the year 1 to the end of 9999.
_FIRST_SECOND: Final = -62_135_596_800
_LAST_SECOND: Final = 253_402_300_799
_FIELD: Final = "cache.not_before"


class RequestedFreshness(NamedTuple):
    """The fields `not_before` and `not_before_token` of a request.

    `not_before` is in seconds since the epoch, None if it is absent. The tokens are as received.
    """

    not_before: float | None
    tokens: tuple[str, ...]


def parse_freshness(
    request: QueryRequest | StreamQueryRequest | CountItemsRequest | BatchGetItemsRequest,
    violations: Violations,
) -> RequestedFreshness | None:
    """Return the bounds of a request, None if it has none, adding violations."""
    if not request.HasField("cache"):
        return None
    cache = request.cache
    has_time, text = cache.HasField("not_before"), cache.not_before_token
    if not has_time and not text:
        return None
    tokens = tuple(text.split(SEPARATOR)) if text else ()
    if len(tokens) > _MAX_TOKENS:
        violations.add(
            f"{_FIELD}_token", f"has at most {_MAX_TOKENS} tokens, not {len(tokens)}: send the last"
        )
        tokens = ()
    return RequestedFreshness(_seconds(cache, violations) if has_time else None, tokens)


def _seconds(cache: CachePolicy, violations: Violations) -> float:
    time = cache.not_before
    is_valid = _FIRST_SECOND <= time.seconds <= _LAST_SECOND and 0 <= time.nanos < 1_000_000_000
    if not is_valid:
        violations.add(
            _FIELD,
            f"must be from {_FIRST_SECOND} to {_LAST_SECOND} seconds since the epoch (the years 1 "
            "to 9999), with 0 to 999999999 nanos",
        )
        return 0.0
    return time.seconds + time.nanos / 1e9
