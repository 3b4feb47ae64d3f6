"""Tests of the metrics: their values, and the server that exports them."""

from __future__ import annotations

import math
import socket
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from dynamodb_processor_server.errors import BackendUnavailable, ConfigurationError
from dynamodb_processor_server.telemetry import metrics_server
from dynamodb_processor_server.telemetry.backend import BackendMetrics
from dynamodb_processor_server.telemetry.labels import OTHER, Labels
from dynamodb_processor_server.telemetry.metrics import CallMetrics, register_gauge
from dynamodb_processor_server.telemetry.metrics_server import MetricsServer
from tests.support.lengths import PATIENCE
from tests.support.reads import CALLER, PRINCIPAL
from tests.unit.dynamodb.scripted_client import EVENTS, THROTTLED, Script, throttled_by


@pytest.fixture
def registry() -> CollectorRegistry:
    """A new registry."""
    return CollectorRegistry()


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """Return a metric's value, None where there is none."""
    return registry.get_sample_value(f"dynamodb_processor_{name}", labels)


def test_calls_are_counted_in_and_out(registry: CollectorRegistry) -> None:
    """Calls are counted by method, and by the code with which they end."""
    metrics = CallMetrics(registry)
    metrics.started("/Query")
    metrics.started("/Query")
    assert value(registry, "active_calls", method="/Query") == 2
    metrics.ended("/Query", "OK", 0.003)
    metrics.ended("/Query", "UNAVAILABLE", 2.0)
    assert value(registry, "active_calls", method="/Query") == 0
    assert value(registry, "calls_total", method="/Query", code="OK") == 1
    assert value(registry, "calls_total", method="/Query", code="UNAVAILABLE") == 1
    assert value(registry, "call_seconds_sum", method="/Query") == pytest.approx(2.003)
    assert value(registry, "call_seconds_bucket", method="/Query", le="0.005") == 1


def test_the_series_of_a_method_begin_at_zero(registry: CollectorRegistry) -> None:
    """An alert on a rate sees the first failure, because its series existed before it."""
    metrics = CallMetrics(registry, ["/Query"])
    assert value(registry, "calls_total", method="/Query", code="INTERNAL") == 0
    assert value(registry, "call_seconds_count", method="/Query") == 0
    metrics.started("/Query")
    metrics.ended("/Query", "INTERNAL", 0.1)
    assert value(registry, "calls_total", method="/Query", code="INTERNAL") == 1


def test_failures_are_counted_by_principal_and_reason(registry: CollectorRegistry) -> None:
    """Failures of calls without a known principal count under an empty name."""
    metrics = CallMetrics(registry)
    metrics.failed("reports", "RATE_LIMITED")
    metrics.failed("reports", "RATE_LIMITED")
    metrics.failed("", "UNAUTHENTICATED")
    assert value(registry, "failures_total", principal="reports", reason="RATE_LIMITED") == 2
    assert value(registry, "failures_total", principal="", reason="UNAUTHENTICATED") == 1


def test_principals_beyond_the_bound_share_a_series(registry: CollectorRegistry) -> None:
    """The number of series is bounded for any number of principals and tables."""
    metrics = CallMetrics(registry, labels=Labels(max_tables=1, max_principals=2))
    for number in range(5):
        metrics.consumed(replace(PRINCIPAL, name=f"tenant-{number}"), "events", 1.0)
        metrics.failed(f"tenant-{number}", "OVERLOADED")
        metrics.read(f"table-{number}", "HIT", 10, 0)
    assert value(registry, "principal_read_units_total", principal="tenant-1") == 1
    assert value(registry, "principal_read_units_total", principal="tenant-2") is None
    assert value(registry, "principal_read_units_total", principal=OTHER) == 3
    assert value(registry, "failures_total", principal=OTHER, reason="OVERLOADED") == 3
    assert value(registry, "items_returned_total", table="table-0") == 10
    assert value(registry, "items_returned_total", table=OTHER) == 40
    assert value(registry, "reads_total", table=OTHER, cache="HIT") == 4


def test_the_cost_of_reads_is_counted_by_table(registry: CollectorRegistry) -> None:
    """Items count whether read or cached, the other figures only for requests to DynamoDB."""
    metrics = CallMetrics(registry)
    metrics.read("events", "MISS", 10, 40)
    metrics.read("events", "HIT", 10, 0)
    metrics.consumed(PRINCIPAL, "events", 1.0)
    metrics.consumed(PRINCIPAL, "notes", 0.5)
    assert value(registry, "reads_total", table="events", cache="MISS") == 1
    assert value(registry, "reads_total", table="events", cache="HIT") == 1
    assert value(registry, "items_returned_total", table="events") == 20
    assert value(registry, "items_scanned_total", table="events") == 40
    assert value(registry, "principal_read_units_total", principal="reports") == 1.5


async def test_requests_to_dynamodb_are_counted_by_outcome(
    registry: CollectorRegistry,
) -> None:
    """Failed requests count as well, which no caller's statistics show."""
    script = Script([THROTTLED])
    backend = script.backend(jitter=0.0)
    BackendMetrics(registry, backend)
    assert value(registry, "backend_retries_total", table="events") is None
    await backend.read(EVENTS, script.play, math.inf, CALLER)
    for outcome in ("ok", "throttled"):
        assert value(registry, "backend_calls_total", table="events", outcome=outcome) == 1
    assert value(registry, "backend_retries_total", table="events") == 1
    assert value(registry, "backend_call_seconds_count", table="events") == 2


async def test_read_units_are_counted_by_index(registry: CollectorRegistry) -> None:
    """A table and its global indexes have capacities of their own."""
    script = Script([])
    backend = script.backend()
    BackendMetrics(registry, backend)
    for resource, units in (("@table", 0.5), ("by_day", 2.0), ("by_day", 1.0)):

        async def request(_: object, units: float = units) -> dict[str, object]:
            return {"ConsumedCapacity": {"CapacityUnits": units}}

        await backend.read(EVENTS._replace(resource=resource), request, math.inf, CALLER)
    assert value(registry, "read_units_total", table="events", index="@table") == 0.5
    assert value(registry, "read_units_total", table="events", index="by_day") == 3


async def test_tables_beyond_the_bound_share_a_series(registry: CollectorRegistry) -> None:
    """Counters add the tables, and the state of breakers is that of the worst."""
    script = Script([THROTTLED] * 99)
    backend = script.backend(attempts=1, breaks_at=10)
    BackendMetrics(registry, backend, Labels(max_tables=1))
    for table, times in (("events", 1), ("orders", 10), ("users", 1)):
        for _ in range(times):
            with pytest.raises(BackendUnavailable):
                await backend.read(EVENTS._replace(table=table), script.play, math.inf, CALLER)
    assert value(registry, "backend_calls_total", table="events", outcome="throttled") == 1
    assert value(registry, "backend_calls_total", table=OTHER, outcome="throttled") == 11
    assert value(registry, "backend_call_seconds_count", table=OTHER) == 11
    assert value(registry, "breaker_state", table=OTHER, index="") == 2
    assert value(registry, "breaker_state", table="events", index="") == 0


async def test_breakers_show_their_state(registry: CollectorRegistry) -> None:
    """The state of breakers and the number of rejected requests are exported."""
    script = Script([THROTTLED] * 99)
    backend = script.backend(attempts=1, breaks_at=10)
    BackendMetrics(registry, backend)
    for _ in range(12):
        with pytest.raises(BackendUnavailable):
            await backend.read(EVENTS, script.play, math.inf, CALLER)
    assert value(registry, "breaker_state", table="events", index="") == 2
    assert value(registry, "breaker_refusals_total", table="events") == 2
    assert value(registry, "open_partition_breakers") == 0


async def test_throttling_is_shown_by_index_and_reason(registry: CollectorRegistry) -> None:
    """The breaker of the index is beside that of its table."""
    reason = "IndexReadAccountLimitExceeded"
    script = Script([throttled_by(reason, "table/events/index/by_day")] * 10)
    backend = script.backend(attempts=1, breaks_at=10)
    BackendMetrics(registry, backend)
    target = EVENTS._replace(resource="by_day")
    for _ in range(10):
        with pytest.raises(BackendUnavailable):
            await backend.read(target, script.play, math.inf, CALLER)
    labels = {"table": "events", "index": "by_day"}
    assert value(registry, "throttles_total", **labels, reason=reason) == 10
    assert value(registry, "breaker_state", **labels) == 2
    assert value(registry, "breaker_state", table="events", index="") == 0


def test_a_gauge_is_read_when_it_is_scraped(registry: CollectorRegistry) -> None:
    """The owner of a value need not report its changes."""
    pages = [1]
    register_gauge(registry, "cached_pages", "Cached pages.", lambda: len(pages))
    pages.append(2)
    assert value(registry, "cached_pages") == 2


def test_metrics_are_served_over_http_for_a_while(registry: CollectorRegistry) -> None:
    """Metrics have their own port, which is closed at the end of the `with`."""
    register_gauge(registry, "cached_pages", "Cached pages.", lambda: 7)
    with MetricsServer(registry, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            assert "dynamodb_processor_cached_pages 7.0" in answer.read().decode()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=PATIENCE)


def test_a_taken_port_is_a_configuration_error(registry: CollectorRegistry) -> None:
    """The error names the setting and the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigurationError, match=f"metrics_listen: .*127.0.0.1:{port}"),
            MetricsServer(registry, "127.0.0.1", port),
        ):
            pass


def test_hung_scrapers_keep_nobody_from_scraping(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scraper that sends nothing or half a request, or does not read, is disconnected in time."""
    monkeypatch.setattr(metrics_server, "_SCRAPE_SECONDS", 2.0)
    with MetricsServer(registry, "127.0.0.1", 0) as server, ExitStack() as stack:
        hung = []
        for said in (b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost") * 5:
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
            hung.append(stack.enter_context(connection))
            connection.sendall(said)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=PATIENCE) as answer:
            assert answer.status == 200
        assert [connection.recv(1) for connection in hung] == [b""] * len(hung)


def test_a_dripping_scraper_is_cut_off(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time bound holds for the whole request, even if it arrives in many small parts."""
    monkeypatch.setattr(metrics_server, "_SCRAPE_SECONDS", 2.0)
    with (
        MetricsServer(registry, "127.0.0.1", 0) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=0.05) as connection,
    ):
        for _ in range(200):
            try:
                connection.sendall(b"G")
                assert connection.recv(1) == b""
                return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    pytest.fail("it was listened to for ten seconds")


def test_a_scraper_for_which_there_is_no_thread_leaves_its_place(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later scraper is served when there are threads again."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(metrics_server, "_MAX_SCRAPES", 1)
    with MetricsServer(registry, "127.0.0.1", 0) as server:
        address = ("127.0.0.1", server.port)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with socket.create_connection(address, timeout=PATIENCE) as turned_away:
                assert turned_away.recv(1) == b""
        with socket.create_connection(address, timeout=PATIENCE) as served:
            served.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert served.recv(15) == b"HTTP/1.0 200 OK"


def test_more_scrapers_than_places_are_cut_off(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of threads is bounded, and the earlier scrapers are served."""
    monkeypatch.setattr(metrics_server, "_MAX_SCRAPES", 1)
    with MetricsServer(registry, "127.0.0.1", 0) as server:
        address = ("127.0.0.1", server.port)
        with socket.create_connection(address, timeout=PATIENCE) as first:
            with socket.create_connection(address, timeout=PATIENCE) as second:
                assert second.recv(1) == b""
            first.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert first.recv(15) == b"HTTP/1.0 200 OK"
