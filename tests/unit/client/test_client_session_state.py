"""Tests of the tokens that a session keeps, and of the session as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor_client.freshness import OperationTokens, SessionPolicy
from dynamodb_processor_client.options import CachePolicy
from dynamodb_processor_client.session_state import MAX_TOKENS, SessionState
from tests.support.documentation import ROOT

_NOW: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_KIT: Final = json.loads((ROOT / "tests/cases/session_tokens.json").read_text("utf-8"))
_CASES: Final[list[Mapping[str, Any]]] = _KIT["cases"]


def state() -> SessionState:
    """Return the state of a new session whose clock stands still."""
    return SessionState(now=lambda: _NOW)


def operation(session: SessionState, table: str = "t") -> tuple[OperationTokens, set[str]]:
    """Return an operation of a session, and the tokens that its first call sends."""
    tokens = OperationTokens(SessionPolicy(state=session), table)
    request = QueryRequest()
    tokens.apply_to(request)
    return tokens, set(request.cache.not_before_token.split(".")) - {""}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 7), st.integers(0, 3)), max_size=60))
def test_no_answer_is_forgotten(steps: list[tuple[bool, int, int]]) -> None:
    """A call sends a token as recent as every answer before it, however the calls overlap.

    A token is the time of its answer here, and every answer is as recent as its call demands.
    """
    session, seen, serial = state(), 0, 0
    running: list[tuple[OperationTokens, int]] = []
    for begins, which, later in steps:
        if begins or not running:
            tokens, sent = operation(session)
            bound = max((int(token.split("x")[0]) for token in sent), default=0)
            assert bound >= seen
            running.append((tokens, bound))
            continue
        tokens, bound = running.pop(which % len(running))
        serial += 1
        tokens.record(f"{bound + later}x{serial}")
        seen = max(seen, bound + later)
    for tokens, bound in running:
        tokens.record(f"{bound}x{serial}")
    last, sent = operation(session)
    last.record("end")
    assert operation(session)[1] == {"end"}, "the answer of a call alone replaces all tokens"
    assert len(sent) <= MAX_TOKENS


def test_the_tokens_of_calls_that_overlapped_are_kept_until_an_answer_covers_them() -> None:
    """A client cannot compare tokens, so only the answer to a call that sent them replaces them."""
    session = state()
    (one, _), (other, _) = operation(session), operation(session)
    one.record("a")
    later, sent = operation(session)
    assert sent == {"a"}
    other.record("b")
    assert operation(session)[1] == {"a", "b"}
    later.record("c")
    assert operation(session)[1] == {"b", "c"}
    last, _ = operation(session)
    last.record("d")
    assert operation(session)[1] == {"d"}
    assert operation(session, "other table")[1] == set()


def test_a_message_of_a_stream_covers_those_before() -> None:
    """A session keeps one token for a stream of any length."""
    session = state()
    stream, _ = operation(session)
    for number in range(3 * MAX_TOKENS):
        stream.record(f"{number}")
    assert stream.text == operation(session)[1].pop() == f"{3 * MAX_TOKENS - 1}"


def test_an_answer_without_a_token_changes_nothing() -> None:
    """A replica of an older release sends none, and must not erase those of the others."""
    session = state()
    operation(session)[0].record("a")
    operation(session)[0].record("")
    assert operation(session)[1] == {"a"}


def test_too_many_tokens_become_a_time() -> None:
    """A time later than all answers so far covers them as well as a token does."""
    session = state()
    running = [operation(session)[0] for _ in range(MAX_TOKENS + 1)]
    for number, tokens in enumerate(running):
        assert session.bounds("t")[1] is None
        tokens.record(str(number))
    assert session.bounds("t") == ((), _NOW)
    assert session.bounds("u") == ((), None)


def test_the_calls_of_one_operation_need_not_be_as_recent_as_each_other() -> None:
    """Their tokens are joined, until they are too many: then the next call sends them."""
    tokens, request = OperationTokens(None, "t"), QueryRequest()
    for number in range(MAX_TOKENS):
        tokens.apply_to(request)
        assert not request.HasField("cache")
        tokens.record(str(number))
    assert set(tokens.text.split(".")) == {str(number) for number in range(MAX_TOKENS)}
    tokens.apply_to(request)
    assert request.cache.not_before_token.count(".") == MAX_TOKENS - 1
    tokens.record("all")
    assert tokens.text == "all"


def test_the_latest_write_counts() -> None:
    """A time holds for the tables that it names, or for all; an earlier one changes nothing."""
    session = state()
    session.wrote([], _NOW - 5 * _SECOND)
    session.wrote(["t"], _NOW - 3 * _SECOND)
    session.wrote(["t"], _NOW - 4 * _SECOND)
    assert session.bounds("t")[1] == _NOW - 3 * _SECOND
    assert session.bounds("u")[1] == _NOW - 5 * _SECOND
    session.wrote([])
    assert session.bounds("t")[1] == session.bounds("u")[1] == _NOW


def test_a_write_that_an_answer_has_shown_is_no_bound_any_more() -> None:
    """The token of the answer says the same, and the page itself can be served again."""
    session = state()
    session.wrote([], _NOW - 3 * _SECOND)
    session.wrote(["t"], _NOW - 2 * _SECOND)
    overlapping, _ = operation(session)
    session.wrote(["t"], _NOW - _SECOND)
    overlapping.record("a")
    assert session.bounds("t") == (("a",), _NOW - _SECOND)
    operation(session)[0].record("b")
    assert session.bounds("t") == (("b",), None)
    assert session.bounds("u") == ((), _NOW - 3 * _SECOND)
    assert SessionState(session.to_text()).bounds("u") == session.bounds("u")
    session.wrote(["t"], _NOW - 2 * _SECOND)
    assert session.bounds("t")[1] is None
    session.forget("t", ["b"])
    assert session.bounds("t") == ((), _NOW)


@pytest.mark.parametrize("written", [["t"], []])
@pytest.mark.parametrize("later", [timedelta(), _SECOND])
def test_a_write_after_an_answer_is_a_bound_whatever_the_clock_says(
    written: list[str], later: timedelta
) -> None:
    """The clock may not have moved since the write before, and that of another service be ahead."""
    session = state()
    session.wrote(["t"], _NOW + later)
    operation(session)[0].record("a")
    overlapping, _ = operation(session)
    session.wrote(written)
    overlapping.record("b")
    assert session.bounds("t")[1] == _NOW + later + timedelta(microseconds=1)
    latest = datetime.max.replace(tzinfo=UTC)
    session.wrote(written, latest)
    session.wrote(written)
    assert session.bounds("t")[1] == latest


def test_a_bound_of_the_caller_shows_no_later_write() -> None:
    """A time in the future means that of the call, so a write after the call is a bound."""
    session = state()
    OperationTokens(SessionPolicy(not_before=_NOW + _SECOND, state=session), "t").record("a")
    session.wrote(["t"])
    assert session.bounds("t")[1] == _NOW


def test_the_bounds_of_the_caller_hold_as_well() -> None:
    """Of two times the later one is sent, and tokens are joined."""
    session, request = state(), QueryRequest()
    operation(session)[0].record("b")
    session.wrote([])
    earlier, later = CachePolicy(not_before=_NOW - _SECOND), CachePolicy(not_before=_NOW + _SECOND)
    for own, sent in ((earlier, _NOW), (later, _NOW + _SECOND)):
        policy = SessionPolicy(not_before=own.not_before, not_before_token="c.a", state=session)
        OperationTokens(policy, "t").apply_to(request)
        assert request.cache.not_before.ToDatetime(UTC) == sent
        assert request.cache.not_before_token == "a.b.c"


@pytest.mark.parametrize("case", _CASES, ids=[case["name"] for case in _CASES])
def test_a_session_as_text(case: Mapping[str, Any]) -> None:
    """Sessions of all clients have the same text, and continue from it."""
    tokens, written = case["state"]["tokens"], case["state"]["written"]
    session = state()
    for table, kept in tokens.items():
        operations = [operation(session, table)[0] for _ in kept]
        for one, token in zip(operations, kept, strict=True):
            one.record(token)
    for table, microseconds in written.items():
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
        session.wrote([table] if table else [], at)
    assert session.to_text() == case["token"]
    read = SessionState(case["token"])
    assert read.to_text() == case["token"]
    for table in {*tokens, *written, "another"}:
        assert read.bounds(table) == session.bounds(table)


@pytest.mark.parametrize("text", [*_KIT["wrong"], "A" * 65_537])
def test_other_text_is_refused(text: str) -> None:
    """The text may come from a browser: the error for another text says so."""
    with pytest.raises(ValueError, match="not the token of a session"):
        SessionState(text)


def test_text_is_text() -> None:
    """A missing cookie is no session: the caller gives an empty text."""
    with pytest.raises(TypeError, match="token is a string, not None"):
        SessionState(None)  # type: ignore[arg-type]
