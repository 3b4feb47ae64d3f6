"""Retry budgets of a table and of its throttled resources."""

from __future__ import annotations

from dynamodb_processor_server.dynamodb.table_stats import TableStats
from dynamodb_processor_server.dynamodb.throttling import Throttling

INDEX = Throttling(("why",), "by_level")


def test_successes_count_until_every_budget_is_full() -> None:
    """A retry is spent from the throttled index's budget, and only its own reads refill it."""
    stats = TableStats()
    assert not stats.is_spent
    stats.count_throttling(INDEX)
    assert stats.spend_retry(INDEX)
    assert stats.is_spent
    for _ in range(20):
        stats.refill("by_day")
    assert stats.is_spent
    for _ in range(10):
        assert stats.is_spent
        stats.refill("by_level")
    assert not stats.is_spent


def test_a_spent_budget_allows_no_retry_before_it_is_refilled() -> None:
    """Ten retries are in the table's own budget, and ten successes give one back."""
    stats = TableStats()
    assert [stats.spend_retry(None) for _ in range(11)] == [True] * 10 + [False]
    for _ in range(10):
        stats.refill("@table")
    assert [stats.spend_retry(None), stats.spend_retry(None)] == [True, False]
