"""The catalog: descriptions of tables on first use, refreshes, replacement and missing tables."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from dynamodb_processor_server.catalog import catalog as registry
from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.catalog.config import TableConfig
from dynamodb_processor_server.errors import BackendRefused, BackendUnavailable, TableNotFound
from tests.support.datasets import Index
from tests.support.running import eventually
from tests.unit.catalog.describer import EVENTS, Describer, catalog_config, schema_of


async def test_a_named_table_is_described_on_first_use_and_kept() -> None:
    """A table has its logical name, and the schema of the DynamoDB table."""
    describer = Describer("events-prod")
    catalog = Catalog(catalog_config(events=EVENTS), describer)
    assert catalog.known("events") is None
    assert catalog.missing == ["events"]
    table = await catalog.table("events")
    assert (table.name, table.schema.name) == ("events", "events-prod")
    assert await catalog.table("events") is table
    assert catalog.known("events") is table
    assert catalog.missing == []
    assert describer.described == ["events-prod"]


async def test_discovered_tables_are_served_under_their_own_names() -> None:
    """A table that a pattern matches has the default options."""
    describer = Describer("audit-a", "audit-b", "secret")
    catalog = Catalog(catalog_config(["audit-*"]), describer)
    table = await catalog.table("audit-a")
    assert table.config == TableConfig(table="audit-a")
    with pytest.raises(TableNotFound, match="table secret does not exist"):
        await catalog.table("secret")
    assert describer.described == ["audit-a"], "what no pattern matches is not even asked for"
    assert await catalog.names() == ["audit-a", "audit-b"]


async def test_missing_tables_are_remembered_for_a_while() -> None:
    """Repeated calls for a name without a table send one request to DynamoDB."""
    describer = Describer()
    catalog = Catalog(catalog_config(["*"]), describer)
    for _ in range(5):
        with pytest.raises(TableNotFound):
            await catalog.table("nothing")
    assert describer.described == ["nothing"]
    describer.tables["nothing"] = schema_of("nothing")
    catalog.replace(catalog_config(["*"]))
    assert (await catalog.table("nothing")).name == "nothing", "a new catalog is a new start"


async def test_discovered_tables_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern that matches everything cannot fill the memory; named tables always fit."""
    monkeypatch.setattr(registry, "_DISCOVERED_TABLES", 2)
    describer = Describer("a-1", "a-2", "a-3", "events-prod")
    catalog = Catalog(catalog_config(["a-*"], events=EVENTS), describer)
    await catalog.table("a-1")
    await catalog.table("a-2")
    with pytest.raises(BackendUnavailable, match="too many tables") as caught:
        await catalog.table("a-3")
    assert caught.value.retry_after == 60.0
    assert (await catalog.table("a-1")).name == "a-1"
    assert (await catalog.table("events")).name == "events"


async def test_a_failure_is_raised_and_not_remembered() -> None:
    """The next use describes the table again."""
    describer = Describer("events-prod")
    catalog = Catalog(catalog_config(events=EVENTS), describer)
    describer.error = BackendUnavailable("throttled")
    with pytest.raises(BackendUnavailable, match="throttled"):
        await catalog.table("events")
    describer.error = None
    assert (await catalog.table("events")).name == "events"


async def test_the_catalog_is_complete_with_its_last_named_table() -> None:
    """Until then the process is not ready; discovered tables do not count."""
    describer = Describer("events-prod")
    catalog = Catalog(
        catalog_config(["x*"], events=EVENTS, users={"table": "users-prod"}), describer
    )
    await catalog.refresh()
    assert not catalog.complete.is_set()
    assert catalog.missing == ["users"]
    describer.tables["users-prod"] = schema_of("users-prod")
    await catalog.refresh()
    assert catalog.complete.is_set()
    assert catalog.missing == []


async def test_a_catalog_that_names_no_table_is_complete() -> None:
    """A catalog with patterns alone has no table to wait for."""
    assert Catalog(catalog_config(["*"]), Describer()).complete.is_set()


async def test_refreshing_sees_changes() -> None:
    """A new index makes a new version; an equal description does not."""
    describer = Describer("events-prod")
    catalog = Catalog(catalog_config(events=EVENTS), describer)
    await catalog.refresh()
    version = catalog.version
    await catalog.refresh()
    assert catalog.version == version
    index = Index("by_user", False, ("user",), ())
    describer.tables["events-prod"] = schema_of("events-prod", index)
    await catalog.refresh()
    assert catalog.version > version
    assert (await catalog.table("events")).schema.path("by_user") is not None


async def test_a_table_that_is_gone_is_forgotten() -> None:
    """A deleted table is not found, until it comes back."""
    describer = Describer("events-prod")
    catalog = Catalog(catalog_config(events=EVENTS), describer)
    await catalog.refresh()
    version = catalog.version
    schema = describer.tables.pop("events-prod")
    await catalog.refresh()
    assert catalog.version > version
    assert catalog.missing == ["events"]
    assert not catalog.complete.is_set()
    assert await catalog.names() == []
    with pytest.raises(TableNotFound):
        await catalog.table("events")
    describer.tables["events-prod"] = schema
    await catalog.refresh()
    assert (await catalog.table("events")).name == "events"
    assert catalog.complete.is_set()


@pytest.mark.parametrize("error", [BackendUnavailable("throttled"), BackendRefused("denied")])
async def test_a_table_that_cannot_be_described_now_is_kept(error: Exception) -> None:
    """An outage of DynamoDB's control plane is not an outage of the service."""
    describer = Describer("events-prod")
    catalog = Catalog(catalog_config(events=EVENTS), describer)
    table = await catalog.table("events")
    version = catalog.version
    describer.error = error
    await catalog.refresh()
    assert await catalog.table("events") is table
    assert catalog.version == version


async def test_a_new_configuration_takes_effect_at_once() -> None:
    """Unchanged tables are kept, changed ones described again, removed ones not found."""
    describer = Describer("events-prod", "users-prod", "x-1")
    users = {"table": "users-prod"}
    catalog = Catalog(catalog_config(["x-*"], events=EVENTS, users=users), describer)
    await catalog.refresh()
    await catalog.table("x-1")
    version = catalog.version
    events = catalog.known("events")
    new = catalog_config(events=EVENTS, users={**users, "allow_scan": True})
    catalog.replace(new)
    assert catalog.version > version
    assert catalog.config is new
    assert catalog.known("events") is events
    assert catalog.missing == ["users"]
    assert (await catalog.table("users")).config.allow_scan
    with pytest.raises(TableNotFound):
        await catalog.table("x-1")


async def test_a_description_for_an_old_configuration_is_dropped() -> None:
    """A description requested before the catalog was replaced is not stored."""
    describer = Describer("events-old", "events-new")
    catalog = Catalog(catalog_config(events={"table": "events-old"}), describer)
    describer.gate.clear()
    refreshing = asyncio.create_task(catalog.refresh())
    await asyncio.sleep(0)
    catalog.replace(catalog_config(events={"table": "events-new"}))
    describer.gate.set()
    await refreshing
    assert (await catalog.table("events")).schema.name == "events-new"


async def test_a_first_use_outlives_a_new_configuration() -> None:
    """A call that waits for the old table gets the new one, or TableNotFound if there is none."""
    describer = Describer("events-old", "events-new")
    for tables, expected in (({"events": {"table": "events-new"}}, "events-new"), ({}, None)):
        catalog = Catalog(catalog_config(events={"table": "events-old"}), describer)
        describer.gate.clear()
        waiting = asyncio.create_task(catalog.table("events"))
        await asyncio.sleep(0)
        catalog.replace(catalog_config(["x-*"], **tables))
        describer.gate.set()
        if expected is None:
            with pytest.raises(TableNotFound):
                await waiting
        else:
            assert (await waiting).schema.name == expected


async def test_refreshes_are_sooner_while_a_table_is_missing() -> None:
    """It refreshes every five seconds until the table exists, then at its interval.

    Errors do not end it.
    """
    describer = Describer()
    catalog = Catalog(catalog_config(events=EVENTS), describer)
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            describer.tables["events-prod"] = schema_of("events-prod")
        describer.error = RuntimeError("a bug") if len(naps) == 4 else None
        if len(naps) == 6:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await catalog.refresh_periodically(60.0, nap)
    assert naps == [5.0, 5.0, 60.0, 60.0, 60.0, 60.0]
    assert catalog.complete.is_set()


async def test_a_failed_description_is_logged_with_its_cause() -> None:
    """A cause without a text of its own adds nothing."""
    describer = Describer("events-prod")
    catalog = Catalog(catalog_config(events=EVENTS), describer)
    with capture_logs() as logs:
        for cause in (TimeoutError("no answer in 1 s"), RuntimeError(), None):
            error = BackendUnavailable("events cannot be read")
            error.__cause__ = cause
            describer.errors["events-prod"] = error
            await catalog.refresh()
    assert [log["reason"] for log in logs] == [
        "events cannot be read (no answer in 1 s)",
        "events cannot be read",
    ]


async def test_an_unexpected_error_of_one_table_keeps_no_other_from_being_described() -> None:
    """The other tables are described; the error is logged once, not at each refresh."""
    describer = Describer("events-prod", "users-prod")
    catalog = Catalog(catalog_config(events=EVENTS, users={"table": "users-prod"}), describer)
    describer.errors["events-prod"] = RuntimeError("a bug")
    with capture_logs() as logs:
        for _ in range(3):
            await catalog.refresh()
        assert catalog.missing == ["events"]
        del describer.errors["events-prod"]
        await catalog.refresh()
        assert catalog.missing == []
        describer.errors["events-prod"] = RuntimeError("a bug")
        await catalog.refresh()
    assert [(log["event"], log["table"], log["reason"]) for log in logs] == [
        ("table_not_described", "events", "RuntimeError: a bug"),
        ("table_not_described", "events", "RuntimeError: a bug"),
    ]
    assert catalog.missing == [], "what was known of it is kept"


async def test_tables_are_refreshed_at_the_same_time() -> None:
    """Eight tables are described at once, so that one that hangs does not delay the others."""
    describer = Describer(*(f"table-{number}" for number in range(20)))
    tables = {f"t{number}": {"table": f"table-{number}"} for number in range(20)}
    catalog = Catalog(catalog_config(**tables), describer)
    describer.gate.clear()
    refreshing = asyncio.create_task(catalog.refresh())
    await eventually(lambda: describer.concurrent == 8)
    describer.gate.set()
    await refreshing
    assert describer.max_concurrent == 8
    assert sorted(describer.described) == sorted(describer.tables)
    assert catalog.missing == []


async def test_a_skipped_index_is_logged_once() -> None:
    """It is logged again when the reason changes."""
    describer = Describer("events-prod")
    catalog = Catalog(catalog_config(events=EVENTS), describer)
    with capture_logs() as logs:
        for status in ("CREATING", "CREATING", "DELETING", "DELETING"):
            skipped = (f"by_user: its status is {status}",)
            describer.tables["events-prod"] = replace(schema_of("events-prod"), skipped=skipped)
            await catalog.refresh()
    assert [(log["event"], log["reason"]) for log in logs] == [
        ("indexes_skipped", "by_user: its status is CREATING"),
        ("indexes_skipped", "by_user: its status is DELETING"),
    ]
