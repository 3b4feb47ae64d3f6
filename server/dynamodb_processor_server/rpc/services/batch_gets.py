"""Serves `BatchGetItems`: from the cache where all items are cached, else by reads."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from dynamodb_processor.v1.query_service_pb2 import BatchGetItemsRequest, BatchGetItemsResponse
from dynamodb_processor_server.dynamodb.bounded_batches import BoundedBatches
from dynamodb_processor_server.pager.pager import CallOptions
from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.call_limits import CallBounds, CallLimits, caller_within
from dynamodb_processor_server.rpc.decode.freshness import parse_freshness
from dynamodb_processor_server.rpc.decode.query import parse_budget, parse_cache
from dynamodb_processor_server.rpc.decode.violations import Violations
from dynamodb_processor_server.rpc.freshness_bounds import with_bounds
from dynamodb_processor_server.rpc.page_cursors import FreshnessTokens
from dynamodb_processor_server.rpc.prepared_queries import QueryPreparer
from dynamodb_processor_server.rpc.services.batch_get import (
    batch_response,
    check_batch,
    parse_batch,
)
from dynamodb_processor_server.rpc.services.cached_gets import CachedGets


@dataclass(frozen=True, slots=True)
class BatchGets:
    """Answers `BatchGetItems` calls."""

    preparer: QueryPreparer
    batches: BoundedBatches
    cached: CachedGets
    freshness: FreshnessTokens
    limits: CallLimits
    bounds: CallBounds

    async def read(self, request: BatchGetItemsRequest, call: Call) -> BatchGetItemsResponse:
        """Return the response of a call of which not all items are cached."""
        violations = Violations()
        budget, policy = parse_budget(request, violations), parse_cache(request, violations)
        requested = parse_freshness(request, violations)
        check_batch(request, violations)
        access = await self.preparer.table(request.table, call.caller, violations)
        batch = self.preparer.work.run(
            call.caller,
            lambda: parse_batch(request, access.table, access.rule, policy.mode, violations),
        )
        if (waiting := self.limits.begin(call, access)) is not None:
            await waiting
        hides_writes = access.rule is not None
        if requested is not None:
            policy, call.bound = with_bounds(
                self.freshness, requested, policy, hides_writes=hides_writes
            )
        caller = caller_within(call, self.bounds.unary_deadline)
        options = CallOptions(1, caller, budget, policy).read_options()
        self.cached.remember(request, access, batch.lookup)
        echoed = sum(key.ByteSize() for key in request.keys)
        found = await self.batches.get_items(batch.lookup, options, caller, echoed)
        response = batch_response(request, batch, found, self.bounds.max_page_bytes - echoed)
        response.freshness_token = self.freshness.seal(
            inf, b"", hides_writes=hides_writes, bound=call.bound
        )
        call.usage, call.messages, call.items = found.usage, 1, response.stats.items_returned
        call.cache = found.status
        self.limits.add_remaining_trailer(call)
        return response
