"""The metrics of a server, as its scrapers read them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.lengths import PATIENCE

if TYPE_CHECKING:
    from tests.support.running import Service


def scraped(address: str, accept: str = "text/plain") -> str:
    """Return the metrics that are served at HOST:PORT in an accepted format, as text."""
    host, _, port = address.rpartition(":")
    with closing(HTTPConnection(host, int(port), timeout=PATIENCE)) as connection:
        connection.request("GET", "/metrics", headers={"Accept": accept})
        return connection.getresponse().read().decode()


def scraped_sum(address: str, name: str, labels: str = "") -> float:
    """Return the sum of a metric's samples at HOST:PORT whose labels match a pattern."""
    pattern = rf"^dynamodb_processor_{name}(?:{{{labels}}})? (\S+)$"
    return sum(map(float, re.findall(pattern, scraped(address), re.MULTILINE)))


async def families(service: Service) -> Iterable[Metric]:
    """Return all metrics of a server in this process."""
    text = await asyncio.to_thread(scraped, f"127.0.0.1:{service.app.metrics_port}")
    return text_string_to_metric_families(text)


async def metric(service: Service, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have these labels."""
    return sum(
        sample.value
        for family in await families(service)
        for sample in family.samples
        if sample.name == f"dynamodb_processor_{name}" and labels.items() <= sample.labels.items()
    )
