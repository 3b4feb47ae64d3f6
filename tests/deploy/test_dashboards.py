"""Every query of the dashboards has data, in a Prometheus that scrapes a server under load."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio

from tests.deploy.stack import Stack, open_stack
from tests.support.documentation import ROOT
from tests.support.prometheus import Prometheus, QueryFailed, debian_tool
from tests.support.redis_server import RedisServer
from tests.support.scraping import scraped

_FOLDER: Final = ROOT / "deploy" / "grafana"
_SECONDS: Final = 25.0
_CALLS_PER_SECOND: Final = 40.0
#: The values that Grafana puts in.
VARIABLES: Final = {
    "$__rate_interval": "20s", "$job": ".+", "$instance": ".+", "$table": ".+",
}  # fmt: skip
#: Panels whose queries may have no data -> the reason.
_MAY_BE_EMPTY: Final = {
    "Throttling by index and reason": "DynamoDB Local never throttles",
    "Evictions": "the load's pages fit into the cache",
}


def dashboards() -> dict[str, Any]:
    """Return the dashboards by name of their file."""
    return {file.stem: json.loads(file.read_text("utf-8")) for file in _FOLDER.glob("*.json")}


def with_values(expression: str) -> str:
    """Return an expression as Grafana sends it."""
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


def problems(prometheus: Prometheus, pages: dict[str, Any]) -> list[str]:
    """Return the queries that fail or, although they should have data, are empty."""
    found = []
    for name, page in pages.items():
        for panel in page["panels"]:
            for target in panel["targets"]:
                where = f"{name}: {panel['title']}: {target['expr']}"
                try:
                    series = prometheus.query(with_values(target["expr"]))
                except QueryFailed as error:
                    found.append(f"{where}: {error}")
                    continue
                if not series and panel["title"] not in _MAY_BE_EMPTY:
                    found.append(f"{where}: no data")
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, own_redis: RedisServer
) -> AsyncIterator[Stack]:
    """A server and its Prometheus, after some load."""
    directory = tmp_path_factory.mktemp("stack")
    async with open_stack(directory, dynamodb_local, own_redis.url) as opened:
        await opened.load(_SECONDS, _CALLS_PER_SECOND)
        yield opened


@pytest.mark.asyncio(loop_scope="module")
async def test_every_query_of_the_dashboards_has_data(stack: Stack) -> None:
    """No query fails, and none is empty but those with a reason; planted faults are found."""
    pages = dashboards()
    assert sorted(pages) == ["cache", "callers", "dynamodb", "overview"]
    assert problems(stack.prometheus, pages) == []
    panel = pages["overview"]["panels"][0]
    for planted, words in (
        ("sum by (code) (rate(dynamodb_processor_calls_total[5m])", "parse error"),
        ("dynamodb_processor_invented", "no data"),
    ):
        panel["targets"][0]["expr"] = planted
        (problem,) = problems(stack.prometheus, pages)
        assert words in problem


def _promtool_accepts(metrics: str) -> bool:
    """Return whether promtool has nothing to say about metrics."""
    done = subprocess.run(
        [debian_tool("promtool"), "check", "metrics"],
        input=metrics,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0 and not done.stderr


@pytest.mark.asyncio(loop_scope="module")
async def test_promtool_accepts_the_metrics(stack: Stack) -> None:
    """Names, types, units and help texts are as Prometheus asks; a planted fault is found."""
    metrics = await asyncio.to_thread(scraped, stack.server.metrics_address)
    assert await asyncio.to_thread(_promtool_accepts, metrics)
    planted = f"{metrics}# TYPE lag_milliseconds counter\nlag_milliseconds 1\n"
    assert not await asyncio.to_thread(_promtool_accepts, planted)


def test_the_dashboards_use_no_other_variables() -> None:
    """A variable that Grafana does not know would make a query that matches nothing."""
    text = " ".join(
        target["expr"]
        for page in dashboards().values()
        for panel in page["panels"]
        for target in panel["targets"]
    )
    for known in VARIABLES:
        assert known in text
        text = text.replace(known, "")
    assert "$" not in text
