"""Slow calls: which calls are logged, by their duration or by the waits of a stream's caller."""

from __future__ import annotations

from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from dynamodb_processor_server.reader import Usage
from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.interceptors.slow_calls import SlowCallLog, StreamWaits

_UNARY: Final = "/dynamodb_processor.v1.QueryService/Query"
_STREAM: Final = "/dynamodb_processor.v1.QueryService/StreamQuery"


def written(call: Call, seconds: float, threshold: float = 1.0) -> list[Any]:
    """Return the lines that a call causes which took so many seconds."""
    log = SlowCallLog(threshold)
    with capture_logs() as lines:
        if seconds >= log.threshold:  # as the access log compares
            log.write(call, "OK", seconds, "events")
    return list(lines)


def stream(*events: tuple[str, float]) -> Call:
    """Return a stream that began at 0 and had these events: `send`, `sent` or `end`, at a time."""
    now = [0.0]
    hook = StreamWaits(_STREAM, lambda: now[0])
    call = Call(_STREAM, 0.0)
    hook.on_start(call)
    for event, at in events:
        now[0] = at
        match event:
            case "send":
                hook.on_send(call, 1)
            case "sent":
                hook.on_sent(call, 1)
            case _:
                hook.on_end(call)
    return call


@pytest.mark.parametrize(
    ("seconds", "threshold", "lines"),
    [(0.9, 1.0, 0), (1.0, 1.0, 1), (5.0, 1.0, 1), (1e9, 0.0, 0)],
    ids=["faster", "as long", "slower", "off"],
)
def test_a_unary_call_counts_by_its_duration(seconds: float, threshold: float, lines: int) -> None:
    """Calls that took as long as the threshold are logged, and none where it is 0."""
    assert len(written(Call(_UNARY, 0.0), seconds, threshold)) == lines


def test_a_line_says_where_the_time_went() -> None:
    """It has the waits for a slot and for DynamoDB, and what was read."""
    call = Call(_UNARY, 0.0, request_id="r-1")
    call.usage = Usage(50, 2.5, 3, 1, 0.75, 1.25)
    (line,) = written(call, 2.0)
    assert (line["log_level"], line["request_id"], line["table"]) == ("warning", "r-1", "events")
    assert (line["duration_ms"], line["queue_ms"], line["backend_ms"]) == (2000.0, 1250.0, 750.0)
    assert (line["read_units"], line["items_scanned"]) == (2.5, 50)
    assert (line["backend_calls"], line["throttle_retries"]) == (3, 1)
    assert "longest_wait_ms" not in line


def test_a_stream_whose_caller_reads_slowly_is_not_slow() -> None:
    """Its messages were there in time; the time to send them is the caller's."""
    call = stream(("send", 0.5), ("sent", 60.0), ("send", 60.5), ("sent", 600.0), ("end", 600.0))
    assert not written(call, 600.0)


@pytest.mark.parametrize(
    "events",
    [
        (("send", 1.5), ("sent", 1.5), ("end", 1.5)),
        (("send", 0.1), ("sent", 0.1), ("send", 1.6), ("sent", 1.6), ("end", 1.6)),
        (("send", 0.1), ("sent", 0.1), ("end", 1.6)),
        (("end", 1.5),),
    ],
    ids=["first message", "later message", "failed between messages", "failed before any"],
)
def test_a_stream_is_slow_by_its_longest_wait(events: tuple[tuple[str, float], ...]) -> None:
    """Also if the call ended while its caller waited."""
    (line,) = written(stream(*events), events[-1][1])
    assert line["longest_wait_ms"] == 1500.0


def test_a_caller_that_leaves_during_a_message_has_not_waited() -> None:
    """The message was there: its caller did not take it."""
    assert not written(stream(("send", 0.1), ("end", 60.0)), 60.0)


@pytest.mark.parametrize(
    "method",
    ["/grpc.health.v1.Health/Watch", "/grpc.reflection.v1alpha.ServerReflection/Info"],
)
def test_calls_that_may_stay_open_are_not_logged(method: str) -> None:
    """A watch of health lasts as long as its watcher."""
    assert not written(Call(method, 0.0), 3600.0)
