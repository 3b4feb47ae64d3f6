"""Limits on calls in flight and unsent bytes, in all and for each principal."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.errors import Overloaded, RateLimited
from dynamodb_processor_server.limits.calls_in_flight import CallsInFlight


def test_half_of_the_calls_are_for_one_principal() -> None:
    """A principal is refused at half of the calls, another one when all are taken."""
    under_way = CallsInFlight(4, 100)
    share = under_way.enter("a")
    under_way.enter("a")
    with pytest.raises(RateLimited, match="2 of 2") as caught:
        under_way.enter("a")
    assert caught.value.subject == "a"
    under_way.enter("b")
    under_way.enter("c")
    with pytest.raises(Overloaded):
        under_way.enter("d")
    under_way.leave(share, 0)
    under_way.enter("d")
    assert under_way.calls == 4
    assert under_way.refused == {"calls": 2, "unsent_bytes": 0}


def test_half_of_the_bytes_are_for_one_principal() -> None:
    """Bytes are refused beyond half, and free again when they are sent or their call ends."""
    under_way = CallsInFlight(10, 100)
    share = under_way.enter("a")
    under_way.sending(share, 30)
    with pytest.raises(RateLimited):
        under_way.sending(share, 21)
    under_way.sending(share, 20)
    under_way.sent(share, 20)
    under_way.leave(share, 30)
    assert (under_way.calls, under_way.unsent_bytes) == (0, 0)


def test_an_answer_larger_than_a_share_passes_alone() -> None:
    """Pages may be larger than a principal's share, which must not refuse them for good."""
    under_way = CallsInFlight(10, 100)
    share, other = under_way.enter("a"), under_way.enter("b")
    under_way.sending(share, 200)
    with pytest.raises(RateLimited):
        under_way.sending(share, 1)
    with pytest.raises(Overloaded):
        under_way.sending(other, 1)
    under_way.leave(share, 200)
    under_way.sending(other, 1)


def test_a_call_begins_where_there_is_room_for_a_page() -> None:
    """A call whose answer would be refused is refused before anything is read for it."""
    under_way = CallsInFlight(10, 160, page_bytes=1_000)
    share = under_way.enter("a")
    under_way.sending(share, 75)
    with pytest.raises(RateLimited):
        under_way.enter("a")
    under_way.sent(share, 5)
    under_way.enter("a")
    assert under_way.calls == 2
    assert under_way.refused == {"calls": 0, "unsent_bytes": 1}


def test_a_bound_has_two_halves() -> None:
    """A bound that could not be shared is refused."""
    with pytest.raises(ValueError, match="at least 2"):
        CallsInFlight(1, 100)
