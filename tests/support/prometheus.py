"""A real Prometheus that scrapes a server of the tests and evaluates the rules of deploy/."""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import yaml

from tests.support.documentation import ROOT
from tests.support.lengths import PATIENCE
from tests.support.processes import free_port

RULES: Final = ROOT / "deploy" / "prometheus" / "rules.yaml"
#: The job that the rules look for.
JOB: Final = "dynamodb-processor"
#: The label of the replica in place of its address, whose port differs from run to run.
INSTANCE: Final = "replica-1"
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION: Final = re.compile(r"(\[|for: )(\d+)([smhd])(\]|$)", re.MULTILINE)


class QueryFailed(Exception):
    """Prometheus refused a query; the text is its reason."""


@dataclass(frozen=True, slots=True)
class Series:
    """The labels of a series and its points: seconds since the epoch, and values."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


def debian_tool(name: str) -> str:
    """Return the path of a program that Debian packages."""
    done = subprocess.run(
        [str(ROOT / ".ci" / "debian_tool"), name], stdout=subprocess.PIPE, check=True, text=True
    )
    return done.stdout.strip()


def scaled(rules: str, factor: int) -> str:
    """Return rules whose ranges and waits are shorter by a factor; thresholds stay."""

    def shorter(found: re.Match[str]) -> str:
        before, number, unit, after = found.groups()
        return f"{before}{int(number) * _UNITS[unit] * 1000 // factor}ms{after}"

    return _DURATION.sub(shorter, rules)


class Prometheus:
    """A running Prometheus, asked by its HTTP interface."""

    def __init__(self, port: int) -> None:
        self._port = port

    def query(self, expression: str) -> list[Series]:
        """Return the series of an expression now, without those that are not a number."""
        found = self._ask("query", query=expression)
        series = [
            Series(one["metric"], ((float(one["value"][0]), float(one["value"][1])),))
            for one in found["result"]
        ]
        return [one for one in series if not math.isnan(one.points[0][1])]

    def query_range(self, expression: str, begin: float, end: float, step: float) -> list[Series]:
        """Return the series of an expression between two times, a point every `step` seconds."""
        found = self._ask("query_range", query=expression, start=begin, end=end, step=step)
        series = []
        for one in found["result"]:
            points = ((float(at), float(value)) for at, value in one["values"])
            series.append(
                Series(one["metric"], tuple(point for point in points if not math.isnan(point[1])))
            )
        return [one for one in series if one.points]

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire now."""
        return {
            str(alert["labels"]["alertname"])
            for alert in self._ask("alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def wait_until(self, expression: str) -> None:
        """Wait until an expression has a series."""
        until = time.monotonic() + PATIENCE
        while not self.query(expression):
            if time.monotonic() > until:
                raise AssertionError(f"Prometheus has no {expression}")
            time.sleep(0.1)

    def is_up(self) -> bool:
        """Return whether it answers."""
        with suppress(OSError):
            return self._get("/-/ready")[0] == HTTPStatus.OK
        return False

    def _ask(self, method: str, **parameters: Any) -> Any:
        status, body = self._get(f"/api/v1/{method}?{urlencode(parameters)}")
        answer = json.loads(body)
        if status != HTTPStatus.OK:
            raise QueryFailed(answer["error"])
        return answer["data"]

    def _get(self, path: str) -> tuple[int, bytes]:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()


@contextmanager
def run_prometheus(
    directory: Path, target: str, *, interval: float = 1.0, factor: int = 1
) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes HOST:PORT until the block ends.

    Args:
        directory: Where its configuration and its data are written.
        target: The address of the metrics.
        interval: Seconds between scrapes, and between evaluations of the rules.
        factor: Makes the durations of the rules so many times shorter, and the time for which a
            series counts after its last sample, 5 minutes by default.
    """
    every = f"{round(interval * 1000)}ms"
    (directory / "rules.yaml").write_text(scaled(RULES.read_text("utf-8"), factor), "utf-8")
    config = {
        "global": {
            "scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every,
        },
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {
                "job_name": JOB,
                "static_configs": [{"targets": [target], "labels": {"instance": INSTANCE}}],
            }
        ],
    }  # fmt: skip
    file = directory / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    port = free_port()
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                debian_tool("prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--query.lookback-delta={300_000 // factor}ms",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    prometheus = Prometheus(port)
    try:
        until = time.monotonic() + PATIENCE
        while not prometheus.is_up():
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError((directory / "prometheus.log").read_text("utf-8")[-2000:])
            time.sleep(0.1)
        yield prometheus
    finally:
        process.terminate()
        process.wait()
