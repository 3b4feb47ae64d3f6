"""Bounds of requests: tokens of several replicas, timestamps, and what their answers stand for."""

from __future__ import annotations

from math import inf, nextafter
from typing import Any, Final

import pytest

from dynamodb_processor_server.errors import InvalidRequest
from dynamodb_processor_server.query.freshness_token import FreshnessBound, FreshnessTokenCipher
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.reader import CachePolicy
from dynamodb_processor_server.rpc.decode.freshness import RequestedFreshness
from dynamodb_processor_server.rpc.freshness_bounds import with_bounds
from dynamodb_processor_server.rpc.page_cursors import FreshnessTokens

KEYS: Final = (TokenKey("k", bytes(32)),)
SKEW: Final = 0.5
NOW: Final = 1_000.0
P, Q = b"p" * 16, b"q" * 16


def replica(now: float = NOW) -> FreshnessTokens:
    """Return the tokens of a replica whose clock stands still."""
    return FreshnessTokens(FreshnessTokenCipher(KEYS), SKEW, lambda: now)


def token_of(tokens: FreshnessTokens, until: float, pages: bytes = b"", **fields: Any) -> str:
    """Return the token of an answer that was read until then."""
    return tokens.seal(until, pages, **{"hides_writes": False, **fields})


def bounded(
    tokens: FreshnessTokens, *texts: str, not_before: float | None = None, hides: bool = False
) -> tuple[CachePolicy, FreshnessBound]:
    """Return the policy and the bound of a request with these tokens."""
    requested = RequestedFreshness(not_before, texts)
    return with_bounds(tokens, requested, CachePolicy(), hides_writes=hides)


def after(moment: float) -> float:
    """Return the earliest time after a moment."""
    return nextafter(moment, inf)


def test_a_replica_trusts_its_own_clock() -> None:
    """The answer shows more than that one did; the page of the token may be served again."""
    own = replica()
    policy, bound = bounded(own, token_of(own, 900.0, P))
    assert policy.not_before == after(900.0)
    assert (policy.seen, policy.seen_from) == (P + bytes(16), after(-inf))
    assert bound.until == 900.0


def test_times_of_other_clocks_get_a_margin() -> None:
    """A clock of another replica or of a caller may be behind by so much."""
    own, other = replica(), replica()
    assert bounded(own, token_of(other, 900.0))[0].not_before == after(900.5)
    assert bounded(own, not_before=900.0)[0].not_before == 900.5


def test_no_bound_is_later_than_the_call() -> None:
    """What was seen or written was there when the call came: a read that begins now shows it."""
    own, ahead = replica(), replica(NOW + 0.4)
    assert bounded(own, token_of(ahead, NOW + 0.4))[0].not_before == after(NOW)
    for moment in (NOW, NOW + 3_600.0):
        assert bounded(own, not_before=moment)[0].not_before == after(NOW)


def test_a_seen_page_has_to_show_what_was_written_since() -> None:
    """A timestamp, and the tokens of other pages, hold for the page of the latest token too."""
    own = replica()
    seen = token_of(own, 900.0, P)
    policy, bound = bounded(own, seen, not_before=899.0)
    assert (policy.not_before, policy.seen_from) == (after(900.0), 899.5)
    policy, bound = bounded(own, token_of(own, 890.0, Q), seen, token_of(own, 880.0, P))
    assert (policy.not_before, policy.seen_from) == (after(900.0), after(890.0))
    assert policy.seen == P + bytes(16)
    assert bound == FreshnessBound(900.0)
    policy, bound = bounded(own, seen, not_before=950.0)
    assert (policy.not_before, policy.seen_from, bound.until) == (950.5, 950.5, 950.5)


def test_an_answer_stands_for_the_bound_of_its_call() -> None:
    """A page that was read before the bound, and was served all the same, does not lower it."""
    own = replica()
    _, bound = bounded(own, token_of(own, 900.0), not_before=950.0)
    answer = token_of(own, 800.0, Q, bound=bound)
    assert bounded(own, answer)[0].not_before == after(950.5)
    answer = token_of(own, 990.0, Q, bound=bound)
    assert bounded(own, answer)[0].not_before == after(990.0)


def test_margins_do_not_add_up_from_replica_to_replica() -> None:
    """Where nothing newer was read, the time of a token is sent on with its own clock."""
    replicas = [replica() for _ in range(5)]
    token = token_of(replicas[0], 900.0)
    for each in replicas[1:]:
        policy, bound = bounded(each, token)
        assert policy.not_before == after(900.5)
        token = token_of(each, 800.0, bound=bound)
    assert bounded(replicas[0], token)[0].not_before == after(900.0)
    _, bound = bounded(replicas[1], token)
    mixed = token_of(replicas[1], 900.2, bound=bound)
    assert bounded(replicas[1], mixed)[0].not_before == after(900.5), "either may be the later one"


def test_the_same_answer_has_the_same_token() -> None:
    """A caller that repeats a call with the token of its answer makes equal requests."""
    own, other = replica(), replica()
    token = token_of(own, 900.0, P)
    assert token_of(own, 900.0, P, bound=bounded(own, token)[1]) == token
    assert token_of(other, 800.0, P, bound=bounded(other, token)[1]) == token
    assert token_of(own, 900.0, Q, bound=bounded(own, token)[1]) != token
    hidden = token_of(own, 900.0, P, hides_writes=True)
    assert token_of(own, 900.0, P, hides_writes=True, bound=bounded(own, hidden)[1]) != hidden


def test_a_token_does_not_tell_when_hidden_pages_were_read() -> None:
    """Where calls show if a page is cached, it stands for the time of the answer."""
    own = replica()
    token = token_of(own, 900.0, P, hides_writes=True)
    assert bounded(own, token)[0].not_before == after(NOW)
    assert bounded(own, token, hides=True)[0].not_before == after(900.0)


def test_a_foreign_token_is_refused_with_a_remedy() -> None:
    """The error names the field, and says what to send instead."""
    own = replica()
    for text in ("", "nonsense", token_of(own, 900.0) + "A"):
        with pytest.raises(InvalidRequest, match=r"as cache\.not_before") as caught:
            bounded(own, token_of(own, 900.0), text)
        assert caught.value.violations[0].field == "cache.not_before_token"
    other = FreshnessTokens(
        FreshnessTokenCipher([TokenKey("k", b"x" * 32)]), SKEW, lambda: NOW, end_with_process=True
    )
    with pytest.raises(InvalidRequest, match="has not set token_keys"):
        bounded(other, token_of(own, 900.0))
