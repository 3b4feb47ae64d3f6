"""Draws the pictures of the dashboards in the documentation, from a run of two minutes.

    python -m tests.deploy.pictures

A server runs under load in front of DynamoDB Local and Redis; a real Prometheus scrapes it. Each
query of a dashboard is asked over the whole run.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from dynamodb_processor_server.demo.dynamodb_local import dynamodb_local
from dynamodb_processor_server.demo.tool_cache import ToolCache
from tests.deploy.drawing import Lines, draw, legend
from tests.deploy.stack import Stack, open_stack
from tests.deploy.test_dashboards import dashboards, with_values
from tests.support.documentation import ROOT
from tests.support.prometheus import Prometheus
from tests.support.redis_server import RedisServer, find_redis

_IMAGES: Final = ROOT / "docs" / "images"
_SETTLING: Final = 30.0  # seconds of load before the pictures begin: the longest range of a query
_SECONDS: Final = 120.0
_RATES: Final = (20.0, 60.0, 40.0)  # calls a second, each for a third of the time


def _lines(prometheus: Prometheus, panel: dict[str, Any], begin: float, end: float) -> Lines:
    return [
        (legend(target["legendFormat"], series.labels), series)
        for target in panel["targets"]
        for series in prometheus.query_range(with_values(target["expr"]), begin, end, 1.0)
    ]


async def _run(stack: Stack) -> None:
    await stack.load(_SETTLING, _RATES[0])
    begin = time.time()
    for rate in _RATES:
        await stack.load(_SECONDS / len(_RATES), rate)
    end = time.time()
    for name, page in dashboards().items():
        panels = [_lines(stack.prometheus, panel, begin, end) for panel in page["panels"]]
        file = _IMAGES / f"dashboard-{name}.svg"
        file.write_text(draw(page, panels, end - begin), "utf-8")
        print(f"wrote {file.relative_to(ROOT)}")


async def _main() -> None:
    with tempfile.TemporaryDirectory() as name, dynamodb_local(ToolCache()) as endpoint_url:
        directory = Path(name)
        redis = RedisServer(find_redis(), directory)
        redis.start()
        try:
            async with open_stack(directory, endpoint_url, redis.url) as stack:
                await _run(stack)
        finally:
            redis.kill()


if __name__ == "__main__":
    asyncio.run(_main())
