"""Runs every scenario against a deployment, and reports each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from dynamodb_processor_client import Item, Query, QueryClient, QueryError
from dynamodb_processor_server.acceptance import caching, protection, reading, under_load
from dynamodb_processor_server.acceptance.scenario import (
    UNCACHED,
    Deployment,
    LoadBounds,
    NotRun,
    Scenario,
    Unmet,
)
from dynamodb_processor_server.errors import ConfigurationError

SCENARIOS: Final = (
    *protection.SCENARIOS,
    *reading.SCENARIOS,
    *caching.SCENARIOS,
    *under_load.SCENARIOS,
)
_FEWEST_ITEMS: Final = 8
_MOST_ITEMS: Final = 10_000

Outcome = Literal["passed", "FAILED", "not run"]


@dataclass(frozen=True, slots=True)
class Keys:
    """The API keys of an acceptance test; None for a key that is not given."""

    caller: str | None
    admin: str | None = None
    limited: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a scenario, with its evidence or the reason."""

    scenario: Scenario
    outcome: Outcome
    text: str


async def accept(
    connect: Callable[[str | None], QueryClient],
    status_of: Callable[[str], Awaitable[str]],
    query: Query,
    keys: Keys,
    load: LoadBounds,
    say: Callable[[str], None],
) -> int:
    """Run every scenario and say a line for each.

    Args:
        connect: Returns a client of the deployment with a key, or without one.
        status_of: Returns the deployment's serving status of a health name.
        query: A query by key for 8 to 10,000 items.
        keys: The keys of the callers.
        load: The load and its bounds.
        say: Shows a line.

    Returns:
        0 if no scenario failed, else 1.

    Raises:
        ConfigurationError: The deployment cannot be reached, or the query returns too few or too
            many items.
    """
    async with connect(keys.caller) as client:
        try:
            table = await client.table(query.table)
            items = await _read_items(client, query)
        except QueryError as error:
            raise ConfigurationError(f"target, table, expression: {error}") from error
        deployment = Deployment(
            client, connect, status_of, table, query, items, keys.admin, keys.limited, load
        )
        results = []
        for scenario in SCENARIOS:
            results.append(await run_scenario(scenario, deployment))
            say(_line(results[-1]))
    say(_summary(results))
    return int(any(result.outcome == "FAILED" for result in results))


async def run_scenario(scenario: Scenario, deployment: Deployment) -> Result:
    """Return the outcome of one scenario; an error of the service is a failure."""
    try:
        return Result(scenario, "passed", await scenario.check(deployment))
    except Unmet as unmet:
        return Result(scenario, "FAILED", f"{scenario.promise} But {unmet}.")
    except QueryError as error:
        return Result(scenario, "FAILED", f"{scenario.promise} But a call failed: {error}")
    except NotRun as reason:
        return Result(scenario, "not run", f"{reason}.")


async def _read_items(client: QueryClient, query: Query) -> tuple[Item, ...]:
    """Return all items of the query; raises ConfigurationError if they do not suit."""
    bounded = Query(
        query.table, query.expression, parameters=query.parameters, max_items=_MOST_ITEMS + 1
    )
    items = [item async for item in client.stream(bounded, cache=UNCACHED)]
    if not _FEWEST_ITEMS <= len(items) <= _MOST_ITEMS:
        raise ConfigurationError(
            f"expression: must match {_FEWEST_ITEMS} to {_MOST_ITEMS:,} items, and matches "
            f"{len(items):,}{' or more' if len(items) > _MOST_ITEMS else ''}"
        )
    return tuple(items)


def _line(result: Result) -> str:
    return f"{result.outcome:<8} {result.scenario.name:<13} {result.text}"


def _summary(results: Iterable[Result]) -> str:
    outcomes = [result.outcome for result in results]
    counts = (f"{outcomes.count(one)} {one}" for one in ("passed", "FAILED", "not run"))
    return f"\n{len(outcomes)} scenarios: {', '.join(counts)}"
