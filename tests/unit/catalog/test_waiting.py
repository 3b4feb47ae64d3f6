"""Calls that wait for descriptions of tables share requests, up to their deadlines."""

from __future__ import annotations

import asyncio

import pytest

from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded, TableNotFound
from tests.support.warped_time import warped
from tests.unit.catalog.describer import EVENTS, Describer, catalog_config, schema_of


async def test_concurrent_first_uses_describe_once() -> None:
    """All calls that arrive before the description get the same table."""
    describer = Describer("events-prod")
    catalog = Catalog(catalog_config(events=EVENTS), describer)
    tables = await asyncio.gather(*(catalog.table("events") for _ in range(20)))
    assert len({id(table) for table in tables}) == 1
    assert describer.described == ["events-prod"]
    assert catalog.version == 1


@pytest.mark.parametrize("error", [TableNotFound("gone"), BackendUnavailable("throttled")])
async def test_concurrent_first_uses_fail_together(error: Exception) -> None:
    """A table that is missing or cannot be described is requested once as well."""
    describer = Describer()
    describer.error = error
    catalog = Catalog(catalog_config(["*"]), describer)
    uses = (catalog.table("audit") for _ in range(20))
    assert await asyncio.gather(*uses, return_exceptions=True) == [error] * 20
    assert describer.described == ["audit"]


@warped
async def test_a_first_use_waits_until_its_timeout_at_most() -> None:
    """The timeout includes the descriptions of other tables before its own."""
    describer = Describer("a-1", "a-2", "a-3", "a-4", "a-5")
    describer.gate.clear()
    catalog = Catalog(catalog_config(["a-*"]), describer, timeout=3.0)
    uses = [asyncio.create_task(catalog.table(name)) for name in describer.tables]
    ends = await asyncio.gather(*uses, catalog.names(), return_exceptions=True)
    assert [type(end) for end in ends] == [DeadlineExceeded] * 6
    assert asyncio.get_running_loop().time() == pytest.approx(1_003.0)
    assert describer.described == ["a-1", "a-2", "a-3", "a-4"]
    describer.gate.set()
    assert (await catalog.table("a-5")).name == "a-5"


async def test_tables_are_listed_every_few_seconds_at_most() -> None:
    """Concurrent calls share one list; without a pattern the tables are never listed."""
    now = 1_000.0
    describer = Describer("audit-a")
    catalog = Catalog(catalog_config(["audit-*"]), describer, clock=lambda: now)
    lists = await asyncio.gather(*(catalog.names() for _ in range(20)))
    assert lists == [["audit-a"]] * 20
    describer.tables["audit-b"] = schema_of("audit-b")
    now += 4.9
    assert await catalog.names() == ["audit-a"]
    assert describer.list_count == 1
    now += 0.2
    assert await catalog.names() == ["audit-a", "audit-b"]
    assert describer.list_count == 2
    catalog.replace(catalog_config(["audit-b"]))
    assert await catalog.names() == ["audit-b"]
    assert describer.list_count == 3, "a new catalog is a new start"
    catalog.replace(catalog_config(events=EVENTS))
    assert await catalog.names() == ["events"]
    assert describer.list_count == 3


async def test_a_failed_list_is_requested_again() -> None:
    """The calls that waited for it fail with it; the next call lists again."""
    describer = Describer("audit-a")
    describer.error = BackendUnavailable("throttled")
    catalog = Catalog(catalog_config(["audit-*"]), describer)
    lists = (catalog.names() for _ in range(20))
    assert await asyncio.gather(*lists, return_exceptions=True) == [describer.error] * 20
    assert describer.list_count == 1
    describer.error = None
    assert await catalog.names() == ["audit-a"]


async def test_few_tables_are_described_at_a_time() -> None:
    """DynamoDB's control plane has low limits."""
    names = [f"table-{number}" for number in range(20)]
    describer = Describer(*names)
    catalog = Catalog(catalog_config(["table-*"]), describer)
    await asyncio.gather(*map(catalog.table, names))
    assert describer.max_concurrent == 4


@warped
async def test_no_call_joins_a_first_use_of_an_old_configuration() -> None:
    """The result for the old configuration does not answer for the new one."""
    describer = Describer("events-new")
    catalog = Catalog(catalog_config(events={"table": "events-old"}), describer)
    describer.gate.clear()
    waiting = asyncio.create_task(catalog.table("events"))
    await asyncio.sleep(0.01)
    catalog.replace(catalog_config(events={"table": "events-new"}))
    newcomer = asyncio.create_task(catalog.table("events"))
    await asyncio.sleep(0.01)
    assert describer.described == ["events-old", "events-new"]
    describer.gate.set()
    for use in (waiting, newcomer):
        assert (await use).schema.name == "events-new"
    assert len(describer.described) == 2
