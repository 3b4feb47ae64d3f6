"""The pauses between retries, and the budget of retries."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.runtime.retry import RetryBudget, backoff_delay


def test_pauses_grow_up_to_a_limit() -> None:
    """They double from 25 ms up to a second, for any number of retries."""
    pauses = [backoff_delay(retry, lambda: 1.0) for retry in (1, 2, 3, 4, 5, 6, 7, 8, 5_000)]
    assert pauses == [0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


def test_pauses_after_throttling_are_longer() -> None:
    """They double from a second up to twenty, as those of AWS's SDKs."""
    pauses = [backoff_delay(n, lambda: 1.0, throttled=True) for n in (1, 2, 3, 4, 5, 6, 7, 5_000)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0, 20.0]


def test_a_pause_that_was_asked_for_is_the_least() -> None:
    """It does not shorten a longer one."""
    pauses = [backoff_delay(1, lambda: 0.5, throttled=True, at_least=s) for s in (0.2, 7.0)]
    assert pauses == [0.5, 7.0]


def test_jitter_is_full() -> None:
    """Requests that failed together are retried spread over the whole pause."""
    seeded = random.Random(7)
    pauses = [backoff_delay(7, seeded.random) for _ in range(1_000)]
    assert min(pauses) < 0.01
    assert max(pauses) > 0.99


@given(st.lists(st.booleans(), max_size=400))
def test_retries_are_a_tenth_of_the_successes_and_ten(successes: list[bool]) -> None:
    """That holds for any order of successes and retries."""
    budget = RetryBudget()
    taken = given_back = 0
    for success in successes:
        if success:
            budget.refill()
            given_back += 1
        else:
            taken += budget.spend()
        assert not budget.is_full or 10 * taken <= given_back
    assert 10 * taken <= 100 + given_back


def test_a_spent_budget_is_refilled() -> None:
    """Ten successes are worth a retry."""
    budget = RetryBudget()
    assert budget.is_full
    assert [budget.spend() for _ in range(11)] == [True] * 10 + [False]
    for _ in range(10):
        assert not budget.is_full
        budget.refill()
    assert [budget.spend(), budget.spend()] == [True, False]
