"""Tests of spans: which there are, and what they tell."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode, get_current_span

from dynamodb_processor_server.telemetry.tracing.spans import current_ids, recorded_ids
from tests.support.recorded_spans import METHOD, Recorder, attributes_of, id_of, parent_of

CALL = METHOD[1:]
SECRET = "a value of a key"


def test_a_child_is_below_the_span_around_it() -> None:
    """Spans nest as their blocks do."""
    recorder = Recorder()
    with recorder.call(), recorder.spans.child("outer"), recorder.spans.child("inner"):
        pass
    call, outer, inner = (recorder.one(name) for name in (CALL, "outer", "inner"))
    assert parent_of(inner) == id_of(outer)
    assert parent_of(outer) == id_of(call)
    assert parent_of(call) is None


async def test_tasks_take_the_span_along() -> None:
    """Reads that run at the same time are siblings, below the span in which they began."""
    recorder = Recorder()

    async def read() -> None:
        with recorder.spans.child("read"):
            await asyncio.sleep(0)

    with recorder.call():
        await asyncio.gather(*(asyncio.create_task(read()) for _ in range(3)))
    call = recorder.one(CALL)
    assert [parent_of(span) for span in recorder.named("read")] == [id_of(call)] * 3


def test_there_is_no_span_outside_a_call() -> None:
    """Background work makes no traces."""
    recorder = Recorder()
    with recorder.spans.child("background") as span:
        assert not span.is_recording()
    assert not recorder.ended
    assert not current_ids()


def test_a_call_that_is_not_sampled_has_no_children() -> None:
    """Its ids are known, for the log, and not offered as an exemplar."""
    recorder = Recorder(sampler=ALWAYS_OFF)
    with recorder.call(), recorder.spans.child("read") as span:
        assert not span.is_recording()
        assert current_ids()
        assert not recorded_ids()
    assert not recorder.ended


def test_the_spans_of_a_call_are_bounded() -> None:
    """The span of the call says how many were left out."""
    recorder = Recorder(max_children=3)
    with recorder.call():
        for _ in range(5):
            with recorder.spans.child("page"):
                pass
    assert len(recorder.named("page")) == 3
    assert attributes_of(recorder.one(CALL))["dynamodb_processor.spans_left_out"] == 2
    with recorder.call(), recorder.spans.child("page"):
        pass
    assert len(recorder.named("page")) == 4


def test_an_error_is_shown_by_its_type_alone() -> None:
    """The text of an error may contain values."""
    recorder = Recorder()
    with recorder.call("INTERNAL"), pytest.raises(ValueError), recorder.spans.child("read"):  # noqa: PT011 - the text is the test's own
        raise ValueError(SECRET)
    read = recorder.one("read")
    assert read.status.status_code is StatusCode.ERROR
    assert attributes_of(read) == {"error.type": "ValueError"}
    assert not read.events
    assert SECRET not in read.to_json()


async def test_a_cancelled_step_is_no_error() -> None:
    """Its caller has left."""
    recorder = Recorder()
    gone = pytest.raises(asyncio.CancelledError)
    with recorder.call("CANCELLED"), gone, recorder.spans.child("read"):
        raise asyncio.CancelledError
    read = recorder.one("read")
    assert read.status.status_code is StatusCode.UNSET
    assert attributes_of(read) == {"error.type": "cancelled"}


@pytest.mark.parametrize(
    ("code", "is_error"),
    [
        ("OK", False),
        ("CANCELLED", False),
        ("INVALID_ARGUMENT", False),
        ("NOT_FOUND", False),
        ("RESOURCE_EXHAUSTED", False),
        ("UNAUTHENTICATED", False),
        ("UNKNOWN", True),
        ("DEADLINE_EXCEEDED", True),
        ("UNIMPLEMENTED", True),
        ("INTERNAL", True),
        ("UNAVAILABLE", True),
        ("DATA_LOSS", True),
    ],
)
def test_statuses_are_those_of_the_conventions(code: str, is_error: bool) -> None:
    """Errors are those that OpenTelemetry's conventions for gRPC servers list."""
    recorder = Recorder()
    with recorder.call(code, items=3):
        pass
    call = recorder.one(CALL)
    assert (call.status.status_code is StatusCode.ERROR) == is_error
    described = attributes_of(call)
    assert described["rpc.response.status_code"] == code
    assert described.get("error.type") == (code if is_error else None)
    assert described["items"] == 3


def test_the_span_of_a_call_is_the_current_one() -> None:
    """Until its block ends, in the test's own context."""
    recorder = Recorder()
    with recorder.call():
        assert get_current_span().is_recording()
    assert not get_current_span().is_recording()
