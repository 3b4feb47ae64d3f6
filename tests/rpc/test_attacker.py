"""Tests that a tenant under a row rule learns nothing of other tenants' items from any request.

The same requests go to a table that has other tenants' items too and to one that has only the
tenant's own. Any difference between the responses, apart from times, would reveal something.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dynamodb_processor.v1.query_pb2 import PageStats
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.rpc.logged import Logged
from tests.rpc.worlds import (
    OTHER,
    SECRET,
    TENANT,
    Witness,
    hidden_item,
    others_items,
    own_items,
    world_catalog,
    world_schema,
)
from tests.support.conditions import WireItem
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import Key, Service, make_key, open_service, query_spec

pytestmark = pytest.mark.asyncio(loop_scope="module")

_RULE = f"tenant_id = '{TENANT}'"
_VISIBLE = ["user_id", "event_id", "at", "kind", "note"]


def _keys() -> list[Key]:
    entry = {"table": "events", "rule": _RULE}
    return [
        make_key("keyed", tables=[entry]),
        make_key("filtered", tables=[{**entry, "rule_as_filter": True}]),
        make_key("blinkered", tables=[{**entry, "rule_as_filter": True, "attributes": _VISIBLE}]),
        make_key("writer", roles=["admin"]),
    ]


@pytest.fixture(scope="module")
def tables(dynamodb_local: str) -> Iterator[tuple[str, str]]:
    """The tables of a world with other tenants and of one without."""
    suffix = uuid.uuid4().hex[:8]
    names = (f"crowded-{suffix}", f"alone-{suffix}")
    client = open_client(dynamodb_local)
    for name in names:
        create_table(client, world_schema(name))
        put_items(client, name, own_items())
    put_items(client, names[0], others_items())
    yield names
    for name in names:
        client.delete_table(TableName=name)
    client.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worlds(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, tables: tuple[str, str]
) -> AsyncIterator[list[Service]]:
    """A server for each world."""
    keys = _keys()
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                open_service(
                    tmp_path_factory.mktemp("world"),
                    dynamodb_local,
                    world_catalog(table),
                    keys,
                    slow_call_threshold=1e-9,  # so that every plan is logged
                )
            )
            for table in tables
        ]


@pytest.mark.parametrize("key", ["keyed", "filtered", "blinkered"])
async def test_a_tenant_cannot_tell_whether_it_is_alone(
    worlds: list[Service], logged: Logged, key: str
) -> None:
    """No response, statistic, page end, token length, count, refusal or explanation differs.

    The log describes the plans of its calls without the rule and without any value.
    """
    logged.secrets |= {TENANT, OTHER, SECRET}
    crowded, alone = [Witness(service, key) for service in worlds]
    await crowded.ask_all()
    await alone.ask_all()
    differing = [pair for pair in zip(crowded.seen, alone.seen, strict=False) if len(set(pair)) > 1]
    assert differing[:1] == []
    assert len(crowded.seen) == len(alone.seen) > 500
    assert crowded.items > 500  # the tenant does see its own
    seen = "".join(text for _, text in crowded.seen)
    assert SECRET not in seen
    plans = [line for line in logged.of("slow_call") if "path" in line]
    assert len(plans) > 500
    assert all(line["row_rule"] for line in plans)
    if key == "blinkered":  # neither the rule nor its attribute is revealed
        unasked = [text for what, text in crowded.seen if "tenant" not in what]
        assert [text for text in unasked if "tenant" in text or TENANT in text] == []


@pytest.mark.parametrize("key", ["keyed", "filtered", "blinkered"])
async def test_a_tenant_cannot_tell_whether_others_write(
    worlds: list[Service], dynamodb_local: str, tables: tuple[str, str], key: str
) -> None:
    """No cache information differs when hidden items are written and invalidated."""
    crowded, alone = [Witness(service, key) for service in worlds]
    client = open_client(dynamodb_local)
    numbers = itertools.count()

    async def write() -> None:
        number = next(numbers)
        item = hidden_item(number)
        client.put_item(TableName=tables[0], Item=item)
        whole = number % 3 == 0
        partition = {} if whole else {name: value["S"] for name, value in _keys_of(item)}
        await crowded.service.invalidate("events", key="writer", **partition)

    async def nothing() -> None:
        pass

    await crowded.ask_while_others_write(write)
    await alone.ask_while_others_write(nothing)
    client.close()
    differing = [pair for pair in zip(crowded.seen, alone.seen, strict=False) if len(set(pair)) > 1]
    assert differing[:1] == []
    assert len(crowded.seen) == len(alone.seen) > 100
    assert crowded.items > 100


def _keys_of(item: WireItem) -> list[tuple[str, Any]]:
    """Return the attributes that identify partitions."""
    return [(name, item[name]) for name in ("user_id", "kind", "tenant_id")]


async def test_a_tenant_cannot_tell_how_large_others_items_are(
    tmp_path: Path, dynamodb_local: str
) -> None:
    """Neither the table's average size nor others' items decide in how many requests it reads.

    The rule is part of the key, so the cost of reads is returned.
    """
    others, seen = "competitor", []
    rule = {"table": "events", "rule": _RULE}
    keys = [make_key("tenant", tables=[rule]), make_key("everybody")]
    client = open_client(dynamodb_local)
    types = {"tenant_id": "S", "number": "N", "at": "N"}
    index = Index("by_at", False, ("tenant_id",), ("at",), "KEYS_ONLY")
    for world in ("alone", "crowded"):
        table = f"sizes-{world}-{uuid.uuid4().hex[:8]}"
        create_table(client, Schema(table, "tenant_id", "number", (index,), types))
        sizes = {TENANT: 5_000, others: 300_000} if world == "crowded" else {TENANT: 5_000}
        for tenant, number in itertools.product(sizes, range(20)):
            item: WireItem = {"tenant_id": {"S": tenant}, "note": {"S": "x" * sizes[tenant]}}
            item |= {"number": {"N": str(number)}, "at": {"N": str(number)}}
            client.put_item(TableName=table, Item=item)
        (tmp_path / world).mkdir()
        catalog = {"tables": {"events": {"table": table, "required": ["at"], "cache_ttl": 0}}}
        async with open_service(tmp_path / world, dynamodb_local, catalog, keys) as service:
            await service.get("events", _numbered(others), key="everybody")
            got = await service.get("events", _numbered(TENANT), key="tenant")
            of_tenant = f"tenant_id = '{TENANT}' AND at >= 0"
            hydrated = query_spec("events", of_tenant, index="by_at")
            filtered = query_spec("events", f"{of_tenant} AND attribute_exists(nothing)")
            answers = [await service.query(spec, key="tenant") for spec in (hydrated, filtered)]
        seen.append(list(map(_cost, (got.stats, *(answer.stats for answer in answers)))))
        client.delete_table(TableName=table)
    client.close()
    assert seen[0] == seen[1]


def _numbered(tenant: str) -> list[Item]:
    return [
        Item(attributes={"tenant_id": AttributeValue(s=tenant), "number": AttributeValue(n=str(n))})
        for n in range(20)
    ]


def _cost(stats: PageStats) -> tuple[object, ...]:
    return stats.items_returned, stats.items_scanned, stats.backend_calls, stats.read_units
