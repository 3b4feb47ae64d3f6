"""Tests of the access log and the metrics of calls, and that they contain no secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.rpc.data import ULRIKE, VIKTOR, events_catalog
from tests.rpc.logged import Logged
from tests.support.lengths import PATIENCE
from tests.support.running import (
    Service,
    eventually,
    make_key,
    open_service,
    query_spec,
    refused,
)
from tests.support.scraping import families

pytestmark = pytest.mark.asyncio(loop_scope="module")

_QUERY = "/dynamodb_processor.v1.QueryService/Query"
_STREAM = "/dynamodb_processor.v1.QueryService/StreamQuery"
_SPEC = query_spec("events", "user_id = :u", parameters={"u": VIKTOR})
_KEY = Item(attributes={"user_id": AttributeValue(s=VIKTOR), "at": AttributeValue(n="1")})
_FIELDS = {
    "cache", "duration_ms", "event", "items", "key_id", "level", "messages", "method", "principal",
    "read_units", "reason", "request_id", "status", "table", "timestamp",
}  # fmt: skip


async def fail(service: Service, spec: Any, metadata: Any = None) -> str:
    """Make a call that fails, and return its request id."""
    call = service.queries.Query(
        QueryRequest(query=spec), metadata=metadata or service.metadata(), timeout=PATIENCE
    )
    return str((await refused(call)).trailing["x-request-id"])


# The access log


async def test_a_call_has_one_line_in_the_access_log(service: Service, logged: Logged) -> None:
    """The line has the caller, the method, the status, the duration and the cost."""
    metadata = (*service.metadata("reports"), ("x-request-id", "trace-1"))
    request = QueryRequest(query=_SPEC)
    page = await service.queries.Query(request, metadata=metadata, timeout=PATIENCE)
    record = await eventually(lambda: logged.call("trace-1"))
    assert record.keys() == _FIELDS
    assert record["method"] == _QUERY
    assert (record["principal"], record["key_id"]) == ("reports", "reports")
    assert (record["table"], record["status"], record["reason"]) == ("events", "OK", "")
    assert (record["items"], record["messages"], record["cache"]) == (5, 1, "MISS")
    assert record["read_units"] == page.stats.read_units
    assert 0 < record["duration_ms"] < 30_000

    metadata = (*service.metadata("reports"), ("x-request-id", "trace-2"))
    await service.queries.Query(request, metadata=metadata, timeout=PATIENCE)
    record = logged.call("trace-2")
    assert (record["cache"], record["read_units"]) == ("HIT", 0)


async def test_a_stream_has_one_line_for_all_of_its_messages(
    service: Service, logged: Logged
) -> None:
    """The line has the sum of their costs."""
    spec = query_spec("uncached", "user_id = :u", parameters={"u": ULRIKE})
    messages = await service.messages(spec, page_size=100)
    (record,) = await eventually(lambda: logged.of("call"))
    assert (record["method"], record["status"]) == (_STREAM, "OK")
    assert (record["items"], record["messages"]) == (250, 3)
    assert record["read_units"] == pytest.approx(messages[-1].cumulative.read_units)


async def test_refused_calls_are_logged_with_their_reason(service: Service, logged: Logged) -> None:
    """Unauthenticated calls are logged as well."""
    wrong = "ddbp_" + "w" * 43
    record = logged.call(await fail(service, _SPEC, (("x-api-key", wrong),)))
    assert (record["status"], record["principal"]) == ("UNAUTHENTICATED", "")
    denied = logged.call(await fail(service, _SPEC, service.metadata("narrow")))
    assert (denied["status"], denied["principal"]) == ("PERMISSION_DENIED", "narrow")
    scan = logged.call(await fail(service, query_spec("events", f"note = '{ULRIKE}'")))
    assert (scan["status"], scan["reason"]) == ("FAILED_PRECONDITION", "SCAN_NOT_ALLOWED")


async def test_a_name_that_a_caller_invents_is_cut_in_the_log(
    service: Service, logged: Logged
) -> None:
    """A name of a megabyte is not logged completely."""
    record = logged.call(await fail(service, query_spec("x" * 500_000, "a = 1")))
    assert record["table"] == "x" * 255


async def test_probes_are_not_logged(service: Service, logged: Logged) -> None:
    """They come every few seconds and report nothing new."""
    await service.check()
    assert not logged.of("call")


async def test_no_secret_is_ever_logged(service: Service, logged: Logged) -> None:
    """Keys, parameters and items are not logged, in any failure.

    The fixture that yields the log checks it after every test of this folder.
    """
    logged.secrets |= {key.text for key in service.keys.values()} | {"Lund", "wrong-key-4711"}
    secret = {"u": ULRIKE}
    await service.query(query_spec("events", "user_id = :u", parameters=secret), page_size=3)
    for spec in (
        query_spec("events", "user_id = :u AND", parameters=secret),
        query_spec("events", "at = :u", parameters=secret),
        query_spec("events", "user_id = :u AND level = :u AND at = 'Lund'", parameters=secret),
        query_spec("events", "note = :u", parameters=secret),
        query_spec("narrow", "user_id = :u AND note = 'Lund'", parameters=secret),
        query_spec("events", "user_id = :u", parameters=secret, index="by_system"),
    ):
        await fail(service, spec)
    await fail(service, _SPEC, (("x-api-key", "wrong-key-4711"),))
    await fail(service, _SPEC, (("authorization", "Bearer wrong-key-4711"),))
    assert len(logged.of("call")) == 9
    assert not logged.of("call_failed")


# Metrics


async def scrape(service: Service) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the metrics, by name and labels."""
    return {
        (sample.name.removeprefix("dynamodb_processor_"), frozenset(sample.labels.items())): (
            sample.value
        )
        for family in await families(service)
        for sample in family.samples
    }


def labels(**given: str) -> frozenset[tuple[str, str]]:
    """Return labels in the form of `scrape`."""
    return frozenset(given.items())


async def test_calls_are_counted_by_method_and_code(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """Refused calls count too, and the cost of reads is counted by table."""
    keys = [make_key("reports"), make_key("narrow", tables=["narrow"])]
    async with open_service(
        tmp_path, dynamodb_local, events_catalog(events), keys, metrics_listen="127.0.0.1:0"
    ) as service:
        page = await service.query(_SPEC)
        await service.query(_SPEC)
        await service.messages(query_spec("uncached", "user_id = 'nobody'"))
        await service.get("narrow", [_KEY])
        await fail(service, _SPEC, (("x-api-key", "nobody's"),))
        await fail(service, _SPEC, service.metadata("narrow"))
        await fail(service, query_spec("events", "no expression"))
        await refused(service.query(_SPEC, page_token="not-a-token"))
        with pytest.raises(grpc.aio.AioRpcError):
            await service.catalog.GetTable(GetTableRequest(table="events"), timeout=PATIENCE)
        waiting = service.stream(query_spec("scannable"), page_size=1)
        await waiting.read()
        await service.check()
        found = await scrape(service)
        assert found["active_calls", labels(method=_STREAM)] == 1
        assert found["active_reads", labels()] in {0, 1}  # the page after it, read in advance
        waiting.cancel()
        gone = ("calls_total", labels(method=_STREAM, code="CANCELLED"))

        async def counted() -> bool:
            return gone in await scrape(service)

        await eventually(counted)
        found = await scrape(service)

    calls = {
        (dict(where)["method"].rpartition("/")[2], dict(where)["code"]): value
        for (name, where), value in found.items()
        if name == "calls_total" and value
    }
    assert calls == {
        ("Query", "OK"): 2,
        ("Query", "UNAUTHENTICATED"): 1,
        ("Query", "PERMISSION_DENIED"): 1,
        ("Query", "INVALID_ARGUMENT"): 2,
        ("StreamQuery", "OK"): 1,
        ("BatchGetItems", "OK"): 1,
        ("StreamQuery", "CANCELLED"): 1,
        ("GetTable", "UNAUTHENTICATED"): 1,
        ("Check", "OK"): 1,
    }
    assert found["call_seconds_count", labels(method=_QUERY)] == 6
    assert found["active_calls", labels(method=_QUERY)] == 0
    assert found["active_reads", labels()] == 0
    assert found["waiting_reads", labels()] == 0
    assert found["reads_total", labels(table="events", cache="MISS")] == 1
    assert found["reads_total", labels(table="events", cache="HIT")] == 1
    # No other reads: the alert on the hit ratio takes each one for a miss that is not BYPASSED.
    statuses = {dict(where)["cache"] for name, where in found if name == "reads_total"}
    assert statuses == {"MISS", "HIT", "BYPASSED"}
    assert found["reads_total", labels(table="narrow", cache="MISS")] == 1
    assert found["items_returned_total", labels(table="events")] == 10
    assert found["items_scanned_total", labels(table="events")] == 5
    units = found["read_units_total", labels(table="events", index="@table")]
    assert units == page.stats.read_units
    assert found["backend_calls_total", labels(table="events", outcome="ok")] == 1
    assert found["backend_call_seconds_count", labels(table="events")] == 1
    failures = {
        (dict(where)["principal"], dict(where)["reason"]): value
        for (name, where), value in found.items()
        if name == "failures_total"
    }
    assert failures == {
        ("", "UNAUTHENTICATED"): 2,
        ("narrow", "PERMISSION_DENIED"): 1,
        ("reports", "INVALID_REQUEST"): 2,
    }
    assert found["tokens_refused_total", labels(reason="invalid")] == 1
    assert found["tokens_refused_total", labels(reason="expired")] == 0
    assert found["cache_lookups_total", labels(table="events", result="hit")] == 1
    assert found["cache_lookups_total", labels(table="events", result="miss")] == 1
    assert found["ready", labels()] == 1
    assert found["bound", labels(setting="max_concurrent_reads")] > 0
    assert found["cached_pages", labels()] >= 1
    assert found["cached_bytes", labels()] > 0
    assert found["process_cpu_seconds_total", labels()] > 0


async def test_names_that_callers_invent_do_not_become_metrics(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """The catalog alone decides the number of time series."""
    async with open_service(
        tmp_path, dynamodb_local, events_catalog(events), metrics_listen="127.0.0.1:0"
    ) as service:
        for number in range(20):
            await fail(service, query_spec(f"invented-{number}", "a = 1"))
            call: Any = service.channel.unary_unary(f"/invented.Service/Method{number}")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"", metadata=service.metadata(), timeout=PATIENCE)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        text = str(await scrape(service))
    assert "invented" not in text
    assert "NOT_FOUND" in text


async def test_there_need_be_no_metrics(service: Service) -> None:
    """Without an address, metrics are not served."""
    assert service.app.metrics_port is None
