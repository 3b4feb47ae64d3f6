"""Counts, in the form of pages: a page of a counting plan holds a number and no items.

So a count is cached, shared, budgeted and resumed as any page is. What DynamoDB can filter, it
counts itself (`Select=COUNT`); where the service has a say, the attributes it checks are read. Both
cost the same read units. Items that must be got from the table to be checked are counted by
`PageBuilder`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dynamodb_processor_server.query.evaluator import evaluate
from dynamodb_processor_server.query.plan import Operation, Plan
from dynamodb_processor_server.reading.lifetimes import Lifetime
from dynamodb_processor_server.reading.port import (
    Limits,
    Page,
    PageContent,
    PageEnd,
    Position,
    Usage,
)
from dynamodb_processor_server.reading.positions import (
    EXHAUSTED,
    BranchPosition,
    decode_positions,
    encode_positions,
)

#: The page size of a count without a bound.
UNBOUNDED: Final = 2**62
# Above this, the 1 MB cap of an answer is the better limit.
_MAX_LIMIT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Total:
    """How many items there are; as many or more if it is not `exact`."""

    value: int
    exact: bool


def total_of(counted: int, bound: int, *, exhausted: bool) -> Total:
    """Return what a count up to `bound` (0 for none) says; answers may bring more than that."""
    over = 0 < bound < counted
    return Total(bound if over else counted, exhausted and not over)


class CountingBranch:
    """One partition that is counted, and where counting stands in it."""

    def __init__(self, request: Mapping[str, Any], position: BranchPosition) -> None:
        self.request = request
        self.position = position


class CountBuilder:
    """One count in the making, of up to `limits.page_size` items; the rest as in `PageBuilder`."""

    def __init__(self, plan: Plan, at: Position, limits: Limits, now: float) -> None:
        self.usage = Usage()
        self._plan = plan
        self._limits = limits
        self._read_at = now
        self._lifetime = Lifetime(plan, now)
        self._count = 0
        # Where items are hidden, the bound is reached only once one item more is known: whether
        # there is one must not be told by what happens to be evaluated.
        self._enough = limits.page_size + plan.withheld
        positions = decode_positions(at, len(plan.requests))
        self._began = positions
        self._branches = [
            CountingBranch(request, position)
            for request, position in zip(plan.requests, positions, strict=True)
        ]

    @property
    def moved(self) -> bool:
        """Whether the count stands further than where it began."""
        return [branch.position for branch in self._branches] != self._began

    def needs(self) -> list[tuple[CountingBranch, dict[str, Any]]]:
        """Return the partitions to go on with, all at the same time, each with its request.

        A budget is kept to the item: when it is down to fewer items than there are partitions, the
        last ones wait. Nothing has to be merged, so any of them makes progress.
        """
        waiting = [branch for branch in self._branches if branch.position is not EXHAUSTED]
        budget = self._limits.max_scanned_items
        if budget is not None:
            waiting = waiting[: budget - self.usage.items_scanned]
        limit = self._request_limit(len(waiting))
        return [(branch, self._request(branch, limit)) for branch in waiting]

    def add(self, branch: CountingBranch, answer: Mapping[str, Any], usage: Usage) -> None:
        """Take in the answer to a request of `needs`."""
        self.usage += usage
        local_filter = self._plan.local_filter
        if local_filter is None:
            self._count += answer["Count"]
        else:
            counted = [item for item in answer["Items"] if evaluate(local_filter, item)]
            self._count += len(counted)
            for item in counted:
                self._lifetime.add(item)
        branch.position = answer.get("LastEvaluatedKey") or EXHAUSTED

    def fill(self) -> PageEnd | None:
        """Return why counting ends, None when more must be read."""
        limits, usage = self._limits, self.usage
        if all(branch.position is EXHAUSTED for branch in self._branches):
            return PageEnd.EXHAUSTED
        if self._count >= self._enough:
            return PageEnd.PAGE_FULL
        if limits.max_scanned_items is not None and usage.items_scanned >= limits.max_scanned_items:
            return PageEnd.SCAN_BUDGET
        if limits.max_read_units is not None and usage.read_units >= limits.max_read_units:
            return PageEnd.READ_UNIT_BUDGET
        return None

    def page(self, end: PageEnd) -> Page:
        """Return what has been counted so far."""
        positions = [branch.position for branch in self._branches]
        following = None if end is PageEnd.EXHAUSTED else encode_positions(positions)
        until = self._lifetime.until
        content = PageContent(b"", self._count, following, end, self._read_at, until)
        return Page(content, self.usage)

    finish = page

    def _request(self, branch: CountingBranch, limit: int | None) -> dict[str, Any]:
        request = dict(branch.request)
        if limit is not None and self._plan.operation is not Operation.GET:
            request["Limit"] = limit
        if isinstance(branch.position, Mapping):
            request["ExclusiveStartKey"] = branch.position
        return request

    def _request_limit(self, partitions: int) -> int | None:
        """Return the `Limit` for the next requests; None for as much as an answer holds."""
        wanted = self._enough - self._count
        if not self._plan.exact_limit:
            wanted *= 2
        share = math.ceil(wanted / partitions)
        budget = self._limits.max_scanned_items
        left = math.inf if budget is None else (budget - self.usage.items_scanned) // partitions
        if left <= share:
            return int(left)
        return None if share > _MAX_LIMIT else share
