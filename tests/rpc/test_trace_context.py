"""The traces of calls: whose they are, which of them are sent, and where else they are named."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from dynamodb_processor.v1.query_pb2 import CacheMode, CachePolicy
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from tests.rpc.data import VIKTOR, events_catalog
from tests.rpc.logged import Logged
from tests.rpc.traced import Traced
from tests.support.lengths import PATIENCE
from tests.support.otlp import open_collector
from tests.support.running import Service, eventually, open_service, query_spec
from tests.support.scraping import scraped

pytestmark = pytest.mark.asyncio(loop_scope="module")

_TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
_PARENT: Final = "00f067aa0ba902b7"
_VIKTOR: Final = query_spec("events", "user_id = :u", parameters={"u": VIKTOR})


# Propagation and sampling


async def _call_with(service: Service, *headers: tuple[str, str], **fields: Any) -> None:
    await service.queries.Query(
        QueryRequest(query=_VIKTOR, **fields),
        metadata=(*service.metadata(), *headers),
        timeout=PATIENCE,
    )


async def test_the_parent_is_the_callers(traced: Traced) -> None:
    """The trace of `traceparent` goes on, with the vendor's part in `tracestate`."""
    await _call_with(
        traced.service,
        ("traceparent", f"00-{_TRACE}-{_PARENT}-01"),
        ("tracestate", "vendor=opaque"),
    )
    call = await traced.call()
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (_TRACE, _PARENT)
    assert call.trace_state == "vendor=opaque"
    (look_up,) = traced.collector.named("look up page")
    assert look_up.trace_id == call.trace_id


@pytest.mark.parametrize(
    "header", ["", "00", f"00-{'0' * 32}-{_PARENT}-01", f"00-{_TRACE}-{_PARENT}-01-more", "ÿ" * 9]
)
async def test_a_parent_that_makes_no_sense_is_ignored(traced: Traced, header: str) -> None:
    """The call begins a trace of its own."""
    ascii_header = header.encode("ascii", "replace").decode()
    await _call_with(traced.service, ("traceparent", ascii_header))
    call = await traced.call()
    assert not call.parent_span_id
    assert call.trace_id.hex() != _TRACE


async def test_an_unsampled_parent_is_not_sent(traced: Traced, logged: Logged) -> None:
    """The caller has decided; its log line still names the trace."""
    await _call_with(
        traced.service,
        ("traceparent", f"00-{_TRACE}-{_PARENT}-00"),
        ("x-request-id", "not-sampled"),
        page_size=3,
    )
    record = await eventually(lambda: logged.of("call"))
    assert record[0]["trace_id"] == _TRACE
    await traced.service.query(_VIKTOR)
    call = await traced.call()
    assert call.trace_id.hex() != _TRACE
    assert {span.trace_id for span in traced.collector.spans} == {call.trace_id}


async def test_the_ratio_is_for_traces_that_begin_here(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """With a ratio of 0 only calls of sampled parents are sent, and all spans are at the end."""
    with open_collector() as collector:
        async with open_service(
            tmp_path,
            dynamodb_local,
            events_catalog(events),
            tracing="otlp",
            tracing_endpoint=f"{collector.url}/v1/traces",
            tracing_sample_ratio=0,
        ) as service:
            for _ in range(5):
                await service.query(_VIKTOR)
            await _call_with(service, ("traceparent", f"00-{_TRACE}-{_PARENT}-01"))
        assert [call.trace_id.hex() for call in collector.calls()] == [_TRACE]


# Logs and metrics


async def test_the_access_log_names_the_trace(traced: Traced, logged: Logged) -> None:
    """The line of a call has the ids of its span."""
    await traced.service.query(_VIKTOR)
    call = await traced.call()
    (record,) = await eventually(lambda: logged.of("call"))
    assert (record["trace_id"], record["span_id"]) == (call.trace_id.hex(), call.span_id.hex())
    assert record["status"] == "OK"


async def test_the_buckets_of_latencies_have_exemplars(traced: Traced) -> None:
    """They are in the format of OpenMetrics, which the scraper asks for, and name a trace."""
    await traced.service.query(_VIKTOR, cache=CachePolicy(mode=CacheMode.CACHE_MODE_BYPASS))
    call = await traced.call()
    (request,) = traced.collector.named("DynamoDB.Query")
    address = f"127.0.0.1:{traced.service.app.metrics_port}"
    text = await asyncio.to_thread(scraped, address, "application/openmetrics-text")
    assert "# EOF" in text
    found = {
        (family.name, sample.exemplar.labels["trace_id"], sample.exemplar.labels["span_id"])
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.exemplar is not None
    }
    trace_id = call.trace_id.hex()
    assert ("dynamodb_processor_call_seconds", trace_id, call.span_id.hex()) in found
    backend = ("dynamodb_processor_backend_call_seconds", trace_id, request.span_id.hex())
    assert backend in found
    plain = await asyncio.to_thread(scraped, address)
    assert trace_id not in plain


async def test_untraced_calls_have_no_trace_in_their_line(service: Service, logged: Logged) -> None:
    """Without the setting nothing is added."""
    with pytest.raises(grpc.aio.AioRpcError):
        await _call_with(service, ("x-api-key", "none"))
    (record,) = await eventually(lambda: logged.of("call"))
    assert "trace_id" not in record
