"""The catalog at work: tables described on first use, kept, refreshed, replaced and missed."""

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
from tests.unit.catalog.describer import EVENTS, Describer, declare, schema_of


async def test_a_named_table_is_described_on_first_use_and_kept() -> None:
    """Under its logical name, with the schema of the real one."""
    describer = Describer("events-prod")
    catalog = Catalog(declare(events=EVENTS), describer)
    assert catalog.known("events") is None
    assert catalog.missing == ["events"]
    table = await catalog.table("events")
    assert (table.name, table.schema.name) == ("events", "events-prod")
    assert await catalog.table("events") is table
    assert catalog.known("events") is table
    assert catalog.missing == []
    assert describer.asked == ["events-prod"]


async def test_discovered_tables_are_served_under_their_own_names() -> None:
    """Those that a pattern matches, with the defaults."""
    describer = Describer("audit-a", "audit-b", "secret")
    catalog = Catalog(declare(["audit-*"]), describer)
    table = await catalog.table("audit-a")
    assert table.declaration == TableConfig(table="audit-a")
    with pytest.raises(TableNotFound, match="table secret does not exist"):
        await catalog.table("secret")
    assert describer.asked == ["audit-a"], "what no pattern matches is not even asked for"
    assert await catalog.names() == ["audit-a", "audit-b"]


async def test_what_does_not_exist_is_remembered_for_a_while() -> None:
    """Guessing names costs DynamoDB next to nothing."""
    describer = Describer()
    catalog = Catalog(declare(["*"]), describer)
    for _ in range(5):
        with pytest.raises(TableNotFound):
            await catalog.table("nothing")
    assert describer.asked == ["nothing"]
    describer.tables["nothing"] = schema_of("nothing")
    catalog.replace(declare(["*"]))
    assert (await catalog.table("nothing")).name == "nothing", "a new catalog is a new start"


async def test_discovered_tables_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern that matches everything cannot fill the memory; named tables always fit."""
    monkeypatch.setattr(registry, "_DISCOVERED_TABLES", 2)
    describer = Describer("a-1", "a-2", "a-3", "events-prod")
    catalog = Catalog(declare(["a-*"], events=EVENTS), describer)
    await catalog.table("a-1")
    await catalog.table("a-2")
    with pytest.raises(BackendUnavailable, match="too many tables") as caught:
        await catalog.table("a-3")
    assert caught.value.retry_after == 60.0
    assert (await catalog.table("a-1")).name == "a-1"
    assert (await catalog.table("events")).name == "events"


async def test_a_failure_is_the_callers_and_is_not_remembered() -> None:
    """The next use tries again."""
    describer = Describer("events-prod")
    catalog = Catalog(declare(events=EVENTS), describer)
    describer.error = BackendUnavailable("throttled")
    with pytest.raises(BackendUnavailable, match="throttled"):
        await catalog.table("events")
    describer.error = None
    assert (await catalog.table("events")).name == "events"


async def test_the_catalog_is_complete_with_its_last_named_table() -> None:
    """Until then the process is not ready; discovered tables do not count."""
    describer = Describer("events-prod")
    catalog = Catalog(declare(["x*"], events=EVENTS, users={"table": "users-prod"}), describer)
    await catalog.refresh()
    assert not catalog.complete.is_set()
    assert catalog.missing == ["users"]
    describer.tables["users-prod"] = schema_of("users-prod")
    await catalog.refresh()
    assert catalog.complete.is_set()
    assert catalog.missing == []


async def test_a_catalog_that_names_no_table_is_complete() -> None:
    """There is nothing to wait for."""
    assert Catalog(declare(["*"]), Describer()).complete.is_set()


async def test_refreshing_sees_what_has_changed() -> None:
    """A new index is a new version; the same answer again is not."""
    describer = Describer("events-prod")
    catalog = Catalog(declare(events=EVENTS), describer)
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
    """And is there again when it comes back."""
    describer = Describer("events-prod")
    catalog = Catalog(declare(events=EVENTS), describer)
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
async def test_what_cannot_be_described_now_stays_as_it_was(error: Exception) -> None:
    """An outage of the control plane is no outage of the service."""
    describer = Describer("events-prod")
    catalog = Catalog(declare(events=EVENTS), describer)
    table = await catalog.table("events")
    version = catalog.version
    describer.error = error
    await catalog.refresh()
    assert await catalog.table("events") is table
    assert catalog.version == version


async def test_a_new_declaration_takes_effect_at_once() -> None:
    """Unchanged tables are kept, changed ones described anew, dropped ones gone."""
    describer = Describer("events-prod", "users-prod", "x-1")
    users = {"table": "users-prod"}
    catalog = Catalog(declare(["x-*"], events=EVENTS, users=users), describer)
    await catalog.refresh()
    await catalog.table("x-1")
    version = catalog.version
    events = catalog.known("events")
    new = declare(events=EVENTS, users={**users, "allow_scan": True})
    catalog.replace(new)
    assert catalog.version > version
    assert catalog.declaration is new
    assert catalog.known("events") is events
    assert catalog.missing == ["users"]
    assert (await catalog.table("users")).declaration.allow_scan
    with pytest.raises(TableNotFound):
        await catalog.table("x-1")


async def test_an_answer_for_an_old_declaration_is_dropped() -> None:
    """What was asked for before the catalog was replaced does not come back through the door."""
    describer = Describer("events-old", "events-new")
    catalog = Catalog(declare(events={"table": "events-old"}), describer)
    describer.gate.clear()
    refreshing = asyncio.create_task(catalog.refresh())
    await asyncio.sleep(0)
    catalog.replace(declare(events={"table": "events-new"}))
    describer.gate.set()
    await refreshing
    assert (await catalog.table("events")).schema.name == "events-new"


async def test_a_first_use_outlives_a_new_declaration() -> None:
    """Whoever waits for the old table gets the new one, or hears that there is none."""
    describer = Describer("events-old", "events-new")
    for tables, expected in (({"events": {"table": "events-new"}}, "events-new"), ({}, None)):
        catalog = Catalog(declare(events={"table": "events-old"}), describer)
        describer.gate.clear()
        waiting = asyncio.create_task(catalog.table("events"))
        await asyncio.sleep(0)
        catalog.replace(declare(["x-*"], **tables))
        describer.gate.set()
        if expected is None:
            with pytest.raises(TableNotFound):
                await waiting
        else:
            assert (await waiting).schema.name == expected


async def test_following_refreshes_sooner_while_a_table_is_missing() -> None:
    """Every five seconds until it is there, then at the usual pace, whatever goes wrong."""
    describer = Describer()
    catalog = Catalog(declare(events=EVENTS), describer)
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            describer.tables["events-prod"] = schema_of("events-prod")
        describer.error = RuntimeError("a bug") if len(naps) == 4 else None
        if len(naps) == 6:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await catalog.follow(60.0, nap)
    assert naps == [5.0, 5.0, 60.0, 60.0, 60.0, 60.0]
    assert catalog.complete.is_set()


async def test_an_unexpected_error_of_one_table_keeps_no_other_from_being_described() -> None:
    """Whatever is raised, the round goes on; the failure is logged once, not at each refresh."""
    describer = Describer("events-prod", "users-prod")
    catalog = Catalog(declare(events=EVENTS, users={"table": "users-prod"}), describer)
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
    """Eight at once: one whose description hangs holds up none of the others."""
    describer = Describer(*(f"table-{number}" for number in range(20)))
    tables = {f"t{number}": {"table": f"table-{number}"} for number in range(20)}
    catalog = Catalog(declare(**tables), describer)
    describer.gate.clear()
    refreshing = asyncio.create_task(catalog.refresh())
    await eventually(lambda: describer.at_once == 8)
    describer.gate.set()
    await refreshing
    assert describer.most_at_once == 8
    assert sorted(describer.asked) == sorted(describer.tables)
    assert catalog.missing == []


async def test_a_skipped_index_is_logged_once() -> None:
    """And again when the reason changes."""
    describer = Describer("events-prod")
    catalog = Catalog(declare(events=EVENTS), describer)
    with capture_logs() as logs:
        for status in ("CREATING", "CREATING", "DELETING", "DELETING"):
            skipped = (f"by_user: its status is {status}",)
            describer.tables["events-prod"] = replace(schema_of("events-prod"), skipped=skipped)
            await catalog.refresh()
    assert [(log["event"], log["reason"]) for log in logs] == [
        ("indexes_skipped", "by_user: its status is CREATING"),
        ("indexes_skipped", "by_user: its status is DELETING"),
    ]
