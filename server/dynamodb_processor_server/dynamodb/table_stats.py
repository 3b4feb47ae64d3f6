"""Counts the requests to a table, its throttling by resource and reason, and its retries left."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from dynamodb_processor_server.dynamodb.throttling import Throttling
from dynamodb_processor_server.runtime.histogram import Histogram
from dynamodb_processor_server.runtime.retry import RetryBudget


@dataclass(slots=True)
class ResourceStats:
    """The retry budget of a resource that was throttled, and the last reasons for it."""

    budget: RetryBudget = field(default_factory=RetryBudget)
    reasons: tuple[str, ...] = ()


@dataclass(slots=True)
class TableStats:
    """The requests to a table: attempts by outcome, retries among them, and the retry budget.

    `seconds` are the durations of all attempts, and `read_units` the units of successful ones by
    the resource that was read. `rejected_by_breaker` are the requests that a breaker did not let
    through. `throttles` are the reasons for throttling, by the resource that they name and the
    reason; the resource is empty where they name none. `resources` has an entry for each resource
    that was throttled. `is_spent` says that a budget may not be full, so that successes have to be
    noted.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: Histogram = field(default_factory=Histogram)
    read_units: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    retries: int = 0
    rejected_by_breaker: int = 0
    budget: RetryBudget = field(default_factory=RetryBudget)
    throttles: Counter[tuple[str, str]] = field(default_factory=Counter)
    resources: dict[str, ResourceStats] = field(default_factory=dict)
    is_spent: bool = False

    def count_throttling(self, throttling: Throttling) -> None:
        """Count one throttled request by each of its reasons."""
        self.throttles.update((throttling.resource or "", one) for one in throttling.labels)
        if throttling.resource is not None:
            resource = self.resources.setdefault(throttling.resource, ResourceStats())
            resource.reasons = throttling.reasons

    def spend_retry(self, throttling: Throttling | None) -> bool:
        """Take a retry from the budget of the throttled resource, else from the table's own.

        Returns False where there is none left to take.
        """
        resource = None if throttling is None else throttling.resource
        found = None if resource is None else self.resources.get(resource)
        self.is_spent = True
        return (self if found is None else found).budget.spend()

    def refill(self, resource: str) -> None:
        """Note the success of a request to a resource; needed only while `is_spent`."""
        self.budget.refill()
        if resource in self.resources:
            self.resources[resource].budget.refill()
        each = [stats.budget for stats in self.resources.values()]
        self.is_spent = not all(budget.is_full for budget in (self.budget, *each))

    def reasons(self, resource: str) -> tuple[str, ...]:
        """Return the last reasons for which a resource was throttled."""
        found = self.resources.get(resource)
        return () if found is None else found.reasons
