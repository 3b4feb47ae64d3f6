"""The trace of the program that uses the client reaches the service."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, Final

from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    use_span,
)

from dynamodb_processor_client import Query, QueryClient
from tests.support.fake_service import FakeService

_SPAN: Final = NonRecordingSpan(
    SpanContext(
        trace_id=0x4BF92F3577B34DA6A3CE929D0E0E4736,
        span_id=0x00F067AA0BA902B7,
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState([("vendor", "opaque")]),
    )
)
_PARENT: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def sent(service: FakeService, name: str) -> list[Any]:
    """Return a header of each call so far."""
    return [metadata.get(name) for metadata in service.metadata]


async def test_each_call_carries_the_current_span(service: FakeService) -> None:
    """In the form of W3C, beside the credential."""
    async with QueryClient(service.address, api_key="k") as client:
        with use_span(_SPAN):
            await client.query(Query("numbers"))
            await anext(client.stream(Query("numbers")))
            await client.tables()
    assert sent(service, "traceparent") == [_PARENT] * 3
    assert sent(service, "tracestate") == ["vendor=opaque"] * 3
    assert sent(service, "x-api-key") == ["k"] * 3


async def test_without_a_span_nothing_is_added(service: FakeService) -> None:
    """The service then begins a trace of its own, if it wants one."""
    async with QueryClient(service.address) as client:
        await client.query(Query("numbers"))
    assert sent(service, "traceparent") == [None]


def test_the_client_does_not_import_opentelemetry() -> None:
    """Programs without it need no package for it, and have no cost."""
    code = (
        "import sys\n"
        "from dynamodb_processor_client.trace_context import trace_metadata\n"
        "import dynamodb_processor_client\n"
        "assert trace_metadata() == ()\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
