"""Decodes requests for counts, apart from the query itself."""

from __future__ import annotations

from typing import NamedTuple

from dynamodb_processor.v1.query_service_pb2 import CountItemsRequest
from dynamodb_processor_server.errors import FieldViolation
from dynamodb_processor_server.reader import Budget, CachePolicy
from dynamodb_processor_server.rpc.decode.freshness import RequestedFreshness, parse_freshness
from dynamodb_processor_server.rpc.decode.query import parse_bound, parse_budget, parse_cache
from dynamodb_processor_server.rpc.decode.violations import Violations


class CountRequest(NamedTuple):
    """The options of a count: those of a `PageRequest`, and its bound, which is 0 for none."""

    budget: Budget
    cache: CachePolicy
    freshness: RequestedFreshness | None
    bound: int
    violations: tuple[FieldViolation, ...]


def read_count(request: CountItemsRequest) -> CountRequest:
    """Return the options of a count, with the violations in them."""
    violations = Violations()
    budget, cache = parse_budget(request, violations), parse_cache(request, violations)
    freshness, bound = parse_freshness(request, violations), parse_bound(request, violations)
    if request.query.HasField("max_items"):
        violations.add("query.max_items", "makes no difference to a count")
    return CountRequest(budget, cache, freshness, bound, violations.found)
