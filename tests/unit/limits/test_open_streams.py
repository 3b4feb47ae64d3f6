"""Open streams are bounded, in all and for each principal."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.errors import Overloaded
from dynamodb_processor_server.limits.open_streams import OpenStreams


def test_no_principal_has_more_than_half() -> None:
    """That holds however many other principals there are."""
    streams = OpenStreams(5)
    streams.enter("greedy")
    streams.enter("greedy")
    with pytest.raises(Overloaded, match="too many streams of this principal are open"):
        streams.enter("greedy")
    streams.enter("modest")
    streams.leave("greedy")
    streams.enter("greedy")
    assert len(streams) == 3


def test_streams_are_bounded_in_all() -> None:
    """A stream that ends makes room for one of any principal."""
    streams = OpenStreams(2)
    streams.enter("a")
    streams.enter("b")
    with pytest.raises(Overloaded, match="too many streams are open") as caught:
        streams.enter("c")
    assert caught.value.retry_after > 0
    streams.leave("a")
    streams.enter("c")
    assert len(streams) == 2


def test_a_principal_without_streams_is_forgotten() -> None:
    """Refused streams leave no trace either."""
    streams = OpenStreams(2)
    streams.enter("a")
    streams.leave("a")
    assert not streams._by_principal
    with pytest.raises(ValueError, match="at least 2"):
        OpenStreams(1)
