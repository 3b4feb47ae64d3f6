"""The core metrics reach CloudWatch, imitated by moto, as Prometheus has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor_server.telemetry.cloudwatch.core_metrics import (
    CORE_METRICS,
    NAMESPACE,
    CoreMetric,
    dimension,
)
from tests.support.backends import REGION
from tests.support.channels import open_caller
from tests.support.documentation import ROOT
from tests.support.event_service import CATALOG, ENVIRONMENT, KEYS, READER
from tests.support.messages import spec
from tests.support.processes import ServerProcess, served, start_command
from tests.support.running import eventually
from tests.support.silent_server import silent_server

CALLS: Final = 30
DEPLOYMENT: Final = "e2e"


@pytest.fixture(scope="module")
def cloudwatch() -> Iterator[str]:
    """The URL of an imitation of CloudWatch."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def settings(cloudwatch: str, way: str, interval: float) -> dict[str, str]:
    """Return the environment of a server that publishes after each interval, in seconds."""
    return {
        **ENVIRONMENT,
        "DYNAMODB_PROCESSOR_CLOUDWATCH": way,
        "DYNAMODB_PROCESSOR_CLOUDWATCH_INTERVAL": f"{interval}",
        "DYNAMODB_PROCESSOR_DEPLOYMENT": DEPLOYMENT,
        "AWS_ENDPOINT_URL_CLOUDWATCH": cloudwatch,
    }


async def call(server: ServerProcess) -> None:
    """Make hits and misses."""
    async with open_caller(server.address, READER.text) as caller:
        for number in range(CALLS):
            query = spec("events", "user_id = :u", {"u": {"S": f"u-{number % 5}"}})
            await caller.query(QueryRequest(query=query))


def test_the_table_of_the_deployment_is_the_server_s() -> None:
    """Alarms and dashboards use the metrics, units and dimensions that the server sends."""
    text = (ROOT / "deploy" / "cloudformation" / "metrics.yaml").read_text(encoding="utf-8")
    table = yaml.safe_load(text)
    assert table["namespace"] == NAMESPACE
    assert table["metrics"] == {
        metric.name: {
            "prometheus": metric.prometheus,
            "kind": metric.kind,
            "unit": metric.unit,
            "dimensions": [["Deployment", *map(dimension, labels)] for labels in metric.labels],
        }
        for metric in CORE_METRICS
    }


def test_the_documentation_lists_the_metrics() -> None:
    """Each row has the name, the unit, the dimensions and the Prometheus twin of a metric."""
    text = (ROOT / "docs" / "operations" / "metrics-and-logs.md").read_text(encoding="utf-8")
    table = text.partition("<!-- cloudwatch -->")[2].partition("<!-- /cloudwatch -->")[0]
    rows = [line.split(" | ")[:4] for line in table.splitlines() if line.startswith("| `")]
    assert rows == [
        [
            f"| `{metric.name}`",
            metric.unit,
            "; ".join(
                ", ".join(f"`{dimension(one)}`" for one in s) or "none" for s in metric.labels
            ),
            f"`{metric.prometheus}`",
        ]
        for metric in CORE_METRICS
    ]


def received(client: Any, metric: CoreMetric, statistic: str, **labels: str) -> float | None:
    """Return a statistic of a metric over the last hours; None if nothing has that unit."""
    pairs = {"Deployment": DEPLOYMENT} | {dimension(name): one for name, one in labels.items()}
    now = datetime.now(UTC)
    combine = {"Maximum": max, "Minimum": min}.get(statistic, sum)
    stat = {
        "Metric": {
            "Namespace": NAMESPACE,
            "MetricName": metric.name,
            "Dimensions": [{"Name": name, "Value": value} for name, value in pairs.items()],
        },
        "Period": 3_600,
        "Stat": statistic,
        "Unit": metric.unit,
    }
    # Not get_metric_statistics: moto adds the data of further dimensions there.
    answer = client.get_metric_data(
        MetricDataQueries=[{"Id": "wanted", "MetricStat": stat}],
        StartTime=now - timedelta(hours=2),
        EndTime=now + timedelta(hours=2),
    )
    values = answer["MetricDataResults"][0]["Values"]
    return combine(values) if values else None


def exported(server: ServerProcess, metric: CoreMetric, **labels: str) -> float:
    """Return the sum of a metric's Prometheus series that have the labels."""
    name = metric.prometheus.removeprefix("dynamodb_processor_")
    suffix = "_count" if metric.kind == "values" else ""
    pattern = "".join(f'(?=.*{label}="[^"]*{value}")' for label, value in labels.items())
    return server.metric(name + suffix, pattern + ".*")


async def test_metrics_arrive_as_prometheus_has_them(
    cloudwatch: str, events: str, tmp_path: Path
) -> None:
    """Names, units, dimensions and values are those of the server's own metrics."""
    client = boto3.client("cloudwatch", endpoint_url=cloudwatch, region_name=REGION)
    metrics = {metric.name: metric for metric in CORE_METRICS}
    env = settings(cloudwatch, "put", 5)
    with served(CATALOG, KEYS, tmp_path, endpoint_url=events, env=env) as server:
        await call(server)

        async def check(name: str, statistic: str, **labels: str) -> None:
            metric = metrics[name]
            expected = exported(server, metric, **labels)
            await eventually(lambda: received(client, metric, statistic, **labels) == expected)

        assert exported(server, metrics["CallsTotal"]) == CALLS
        await check("CallsTotal", "Sum")
        await check("CallsTotal", "Sum", code="OK")
        await check("ReadsTotal", "Sum", cache="HIT")
        await check("ReadsTotal", "Sum", cache="MISS")
        await check("ReadUnitsTotal", "Sum")
        await check("ReadUnitsTotal", "Sum", table="events")
        await check("ThrottlesTotal", "Sum")
        await check("CallSeconds", "SampleCount", method="Query")
        await check("CachedBytes", "Maximum")
        await check("CallsUnderWay", "Minimum")
        await check("BreakerState", "Maximum")
        assert server.metric("cloudwatch_dropped_total") == 0


async def test_a_sink_that_hangs_delays_nothing(events: str, tmp_path: Path) -> None:
    """Calls are served and the server ends; data is dropped and counted."""
    with silent_server() as port:
        env = settings(f"http://127.0.0.1:{port}", "put", 0.5)
        with served(CATALOG, KEYS, tmp_path, endpoint_url=events, env=env) as server:
            await eventually(lambda: server.metric("cloudwatch_dropped_total") > 0)
            await call(server)
            assert server.metric("calls_total", ".*") == CALLS
            assert server.wait_for_event("cloudwatch_not_reached")["reason"] == "no answer in 0.5 s"
        assert server.returncode == 0


async def test_log_lines_are_embedded_metrics(events: str, tmp_path: Path) -> None:
    """Each line names the metrics and dimensions that it has as members."""
    env = settings("http://127.0.0.1:1", "log", 0.5)
    with served(CATALOG, KEYS, tmp_path, endpoint_url=events, env=env) as server:
        await call(server)
        expected = server.metric("calls_total", ".*")
    lines = [json.loads(line) for line in server.lines if '"_aws"' in line]
    for line in lines:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == NAMESPACE
        assert abs(line["_aws"]["Timestamp"] / 1_000 - datetime.now(UTC).timestamp()) < 3_600
        (names,) = directive["Dimensions"]
        assert all(isinstance(line[name], str) for name in names)
        assert all(one["Name"] in line for one in directive["Metrics"])
    assert sum(line.get("CallsTotal", 0) for line in lines if "Code" not in line) == expected
    durations = [line["CallSeconds"] for line in lines if line.get("Method") == "Query"]
    assert sum(each["Count"] if isinstance(each, dict) else 1 for each in durations) == CALLS


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("LOG_FORMAT", "console", "cloudwatch: log needs log_format json"),
        ("LOG_LEVEL", "WARNING", "cloudwatch: log needs log_level INFO or DEBUG"),
    ],
)
def test_a_log_without_metrics_is_refused(
    tmp_path: Path, variable: str, value: str, remedy: str
) -> None:
    """A log that would lose the metrics is an error of the settings."""
    (tmp_path / "catalog.yaml").write_text('discover: ["x-*"]', encoding="utf-8")
    (tmp_path / "keys.yaml").write_text("keys: []", encoding="utf-8")
    env = settings("http://127.0.0.1:1", "log", 0.5) | {f"DYNAMODB_PROCESSOR_{variable}": value}
    arguments = ["serve", "--catalog", "catalog.yaml", "--keys", "keys.yaml"]
    server = start_command([*arguments, "--listen", "127.0.0.1:0"], env=env, cwd=tmp_path)
    assert server.wait() == 2
    assert remedy in server.output
