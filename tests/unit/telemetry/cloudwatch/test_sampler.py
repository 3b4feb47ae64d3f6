"""The data for CloudWatch: what a sample has of the metrics, and what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from dynamodb_processor_server.runtime.histogram import Histogram
from dynamodb_processor_server.telemetry.cloudwatch.sampler import Datum, Sampler
from dynamodb_processor_server.telemetry.families import PREFIX, histogram
from dynamodb_processor_server.telemetry.labels import MAX_TABLES, OTHER

_QUERY = "/dynamodb_processor.v1.QueryService/Query"
_CHECK = "/grpc.health.v1.Health/Check"


class Figures(Collector):
    """Metrics whose values a test sets: gauges by name, read units by table, calls by method."""

    def __init__(self) -> None:
        self.gauges: dict[str, float] = {}
        self.lags: dict[str, float] = {}
        self.units: dict[str, float] = {}
        self.calls: dict[str, float] = {}
        self.seconds = Histogram()
        registry = CollectorRegistry()
        registry.register(self)
        self.sampler = Sampler(registry, "orders")

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics with their present values."""
        for name, value in self.gauges.items():
            yield GaugeMetricFamily(PREFIX + name, name, value=value)
        lags = GaugeMetricFamily(f"{PREFIX}stream_behind_seconds", "Lag.", labels=("table",))
        for table, value in self.lags.items():
            lags.add_metric((table,), value)
        yield lags
        units = CounterMetricFamily(f"{PREFIX}read_units", "Units.", labels=("table", "index"))
        for table, value in self.units.items():
            units.add_metric((table, "@table"), value)
        yield units
        calls = CounterMetricFamily(f"{PREFIX}calls", "Calls.", labels=("method", "code"))
        for method, value in self.calls.items():
            calls.add_metric((method, "OK"), value)
        yield calls
        durations = [((_QUERY,), self.seconds), ((_CHECK,), self.seconds)]
        yield histogram("call_seconds", "Time.", ("method",), durations)

    def sample(self, name: str) -> list[Datum]:
        """Return the next data of one metric."""
        return [datum for datum in self.sampler.sample() if datum.name == name]


def test_a_counter_has_its_increase() -> None:
    """The sum is sent each time, for alarms; the value of a label only if something happened."""
    figures = Figures()
    figures.units = {"events": 2.5, "notes": 1.0}
    deployment = ("Deployment", "orders")
    assert [(one.dimensions, one.values) for one in figures.sample("ReadUnitsTotal")] == [
        ((deployment,), (3.5,)),
        ((deployment, ("Table", "events")), (2.5,)),
        ((deployment, ("Table", "notes")), (1.0,)),
    ]
    figures.units["notes"] = 1.5
    assert [(one.dimensions, one.values) for one in figures.sample("ReadUnitsTotal")] == [
        ((deployment,), (0.5,)),
        ((deployment, ("Table", "notes")), (0.5,)),
    ]
    assert [one.values for one in figures.sample("ReadUnitsTotal")] == [(0.0,)]


def test_a_counter_without_a_series_is_zero() -> None:
    """Otherwise alarms would have no data before the first event."""
    assert [one.values for one in Figures().sample("ThrottlesTotal")] == [(0.0,)]


def test_calls_of_probes_are_left_out() -> None:
    """Load balancers make many, all of which succeed; alarms compare failures with all calls."""
    figures = Figures()
    figures.calls = {_QUERY: 2.0, _CHECK: 40.0}
    figures.seconds.observe(0.003)
    data = figures.sampler.sample()
    calls = [one.values for one in data if one.name == "CallsTotal"]
    assert calls == [(2.0,), (2.0,)]  # all, and those with OK
    methods = [one.dimensions[1] for one in data if one.name == "CallSeconds"]
    assert methods == [("Method", "Query")]


def test_a_gauge_has_its_largest_value() -> None:
    """It has no datum as long as it has no series."""
    figures = Figures()
    assert figures.sample("StreamBehindSeconds") == []
    figures.lags = {"events": 1.0, "notes": 7.0}
    assert [one.values for one in figures.sample("StreamBehindSeconds")] == [(7.0,)]


def test_a_value_that_is_no_finite_number_is_left_out() -> None:
    """CloudWatch refuses a request with one, and all other data in it."""
    figures = Figures()
    figures.gauges = {"cached_bytes": float("nan"), "calls_under_way": 3.0}
    figures.lags = {"a": float("nan"), "b": 2.0, "c": float("inf"), "d": float("nan")}
    found = {one.name: one.values for one in figures.sampler.sample()}
    assert "CachedBytes" not in found
    assert found["CallsUnderWay"] == (3.0,)
    assert found["StreamBehindSeconds"] == (2.0,)


def test_durations_are_bounds_of_buckets_with_their_counts() -> None:
    """Those above the largest bound count as that; each is sent once."""
    figures = Figures()
    for seconds in (0.003, 0.004, 0.2, 31.0, 500.0):
        figures.seconds.observe(seconds)
    (datum,) = figures.sample("CallSeconds")
    assert datum.dimensions == (("Deployment", "orders"), ("Method", "Query"))
    assert dict(zip(datum.values, datum.counts, strict=True)) == {0.005: 2, 0.25: 1, 30.0: 2}
    assert figures.sample("CallSeconds") == []
    figures.seconds.observe(0.003)
    (datum,) = figures.sample("CallSeconds")
    assert (datum.values, datum.counts) == ((0.005,), (1,))


def test_a_sample_stays_within_the_limits_of_cloudwatch() -> None:
    """A datum has at most 150 values, in log lines 100, and a dimension 1 to 1,024 characters."""
    figures = Figures()
    figures.units = {f"{'t' * 250}{number}": 1.0 for number in range(MAX_TABLES)}
    figures.units |= {OTHER: 1.0, "": 1.0, "tä-ble": 1.0}
    for power in range(-20, 10):
        figures.seconds.observe(2.0**power)
    data = figures.sampler.sample()
    assert len(data) > MAX_TABLES
    assert max(len(one.values) for one in data) <= 100
    texts = {text for one in data for _, text in one.dimensions}
    assert all(text.isascii() and 1 <= len(text) <= 1_024 for text in texts)
    assert {OTHER, "none", "t\\xe4-ble"} <= texts
