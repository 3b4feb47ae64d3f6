"""What a server says of itself, as its scrapers read it."""

from __future__ import annotations

import asyncio
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.support.running import Service


async def metric(service: Service, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have these labels."""
    url = f"http://127.0.0.1:{service.app.metrics_port}/metrics"

    def scrape() -> str:
        with urllib.request.urlopen(url) as answer:
            text: bytes = answer.read()
        return text.decode()

    families = text_string_to_metric_families(await asyncio.to_thread(scrape))
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == f"dynamodb_processor_{name}" and labels.items() <= sample.labels.items()
    )
