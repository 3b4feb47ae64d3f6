"""Calls that wait for what DynamoDB says of tables: together, and no longer than they may."""

from __future__ import annotations

import asyncio

import pytest

from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded, TableNotFound
from tests.support.warped_time import warped
from tests.unit.catalog.describer import EVENTS, Describer, declare, schema_of


async def test_concurrent_first_uses_describe_once() -> None:
    """However many ask for it before the answer is there, and they all get the same table."""
    describer = Describer("events-prod")
    catalog = Catalog(declare(events=EVENTS), describer)
    tables = await asyncio.gather(*(catalog.table("events") for _ in range(20)))
    assert len({id(table) for table in tables}) == 1
    assert describer.asked == ["events-prod"]
    assert catalog.version == 1


@pytest.mark.parametrize("error", [TableNotFound("gone"), BackendUnavailable("throttled")])
async def test_concurrent_first_uses_fail_together(error: Exception) -> None:
    """What is not there, or cannot be described now, is asked for once as well."""
    describer = Describer()
    describer.error = error
    catalog = Catalog(declare(["*"]), describer)
    uses = (catalog.table("audit") for _ in range(20))
    assert await asyncio.gather(*uses, return_exceptions=True) == [error] * 20
    assert describer.asked == ["audit"]


@warped
async def test_a_first_use_waits_no_longer_than_its_caller_has() -> None:
    """Be the table's own description late, or those that are described before it."""
    describer = Describer("a-1", "a-2", "a-3", "a-4", "a-5")
    describer.gate.clear()
    catalog = Catalog(declare(["a-*"]), describer, patience=3.0)
    uses = [asyncio.create_task(catalog.table(name)) for name in describer.tables]
    ends = await asyncio.gather(*uses, catalog.names(), return_exceptions=True)
    assert [type(end) for end in ends] == [DeadlineExceeded] * 6
    assert asyncio.get_running_loop().time() == pytest.approx(1_003.0)
    assert describer.asked == ["a-1", "a-2", "a-3", "a-4"]
    describer.gate.set()
    assert (await catalog.table("a-5")).name == "a-5"


async def test_the_list_of_tables_is_asked_for_every_few_seconds() -> None:
    """However many want it, and not at all where no pattern needs it."""
    now = 1_000.0
    describer = Describer("audit-a")
    catalog = Catalog(declare(["audit-*"]), describer, clock=lambda: now)
    lists = await asyncio.gather(*(catalog.names() for _ in range(20)))
    assert lists == [["audit-a"]] * 20
    describer.tables["audit-b"] = schema_of("audit-b")
    now += 4.9
    assert await catalog.names() == ["audit-a"]
    assert describer.listed == 1
    now += 0.2
    assert await catalog.names() == ["audit-a", "audit-b"]
    assert describer.listed == 2
    catalog.replace(declare(["audit-b"]))
    assert await catalog.names() == ["audit-b"]
    assert describer.listed == 3, "a new catalog is a new start"
    catalog.replace(declare(events=EVENTS))
    assert await catalog.names() == ["events"]
    assert describer.listed == 3


async def test_a_list_that_failed_is_asked_for_again() -> None:
    """By the next who wants it; those who waited for it have failed with it."""
    describer = Describer("audit-a")
    describer.error = BackendUnavailable("throttled")
    catalog = Catalog(declare(["audit-*"]), describer)
    lists = (catalog.names() for _ in range(20))
    assert await asyncio.gather(*lists, return_exceptions=True) == [describer.error] * 20
    assert describer.listed == 1
    describer.error = None
    assert await catalog.names() == ["audit-a"]


async def test_few_tables_are_described_at_a_time() -> None:
    """The control plane of DynamoDB has small limits."""
    names = [f"table-{number}" for number in range(20)]
    describer = Describer(*names)
    catalog = Catalog(declare(["table-*"]), describer)
    await asyncio.gather(*map(catalog.table, names))
    assert describer.most_at_once == 4


@warped
async def test_nobody_joins_a_first_use_of_an_old_declaration() -> None:
    """Whether that finds its table or not says nothing of the new one."""
    describer = Describer("events-new")
    catalog = Catalog(declare(events={"table": "events-old"}), describer)
    describer.gate.clear()
    waiting = asyncio.create_task(catalog.table("events"))
    await asyncio.sleep(0.01)
    catalog.replace(declare(events={"table": "events-new"}))
    newcomer = asyncio.create_task(catalog.table("events"))
    await asyncio.sleep(0.01)
    assert describer.asked == ["events-old", "events-new"]
    describer.gate.set()
    for use in (waiting, newcomer):
        assert (await use).schema.name == "events-new"
    assert len(describer.asked) == 2
