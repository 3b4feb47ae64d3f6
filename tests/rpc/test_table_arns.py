"""Tests of a table that the catalog names by its ARN, as one of another account has to be."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from dynamodb_processor.v1.query_pb2 import CACHE_STATUS_HIT, CACHE_STATUS_MISS
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.faults.stub import Ask, Reply, open_stub, reply_with
from tests.rpc.data import VIKTOR, event, events_schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import (
    Service,
    eventually,
    make_key,
    numbers,
    open_service,
    query_spec,
)
from tests.support.scraping import metric

_READS: Final = ("Query", "Scan", "GetItem", "BatchGetItem", "DescribeTable")
_SPEC: Final = query_spec("events", "user_id = :u", parameters={"u": VIKTOR})


@dataclass
class Table:
    """A table with its ARN, and the tables that requests name.

    The answers to batches are by ARN, as DynamoDB's are; those of DynamoDB Local are by name.
    """

    name: str
    client: Any
    named: list[str] = field(default_factory=list)

    @property
    def arn(self) -> str:
        """Its ARN, in a region that is not the server's."""
        return f"arn:aws:dynamodb:eu-central-1:123456789012:table/{self.name}"

    async def answer(self, request: dict[str, Any], ask: Ask) -> Reply:
        """Answer a request in place of DynamoDB Local."""
        self.named += request.get("RequestItems", [request.get("TableName")])
        content = await ask(request)
        for part in ("Responses", "UnprocessedKeys"):
            if part in content:
                content[part] = dict(zip([self.arn], content[part].values(), strict=False))
        return reply_with(content)


@pytest.fixture
def table(dynamodb_local: str) -> Iterator[Table]:
    """A table of five events, with a stream."""
    name = f"rpc-arn-{uuid.uuid4().hex[:8]}"
    with closing(open_client(dynamodb_local)) as client:
        create_table(client, events_schema(name), stream_view="NEW_AND_OLD_IMAGES")
        put_items(client, name, [event(VIKTOR, at) for at in range(6, 11)])
        yield Table(name, client)
        client.delete_table(TableName=name)


@pytest_asyncio.fixture
async def service(table: Table, tmp_path: Path, dynamodb_local: str) -> AsyncIterator[Service]:
    """A server that reads it by its ARN."""
    config = {
        "table": table.arn,
        "allow_scan": True,
        "sparse": "allow",
        "invalidate_from_stream": True,
    }
    async with (
        open_stub(dynamodb_local, dict.fromkeys(_READS, table.answer)) as stub,
        open_service(
            tmp_path,
            f"http://127.0.0.1:{stub.port}",
            {"tables": {"events": config}},
            keys=[make_key("admin", roles=["reader", "admin"])],
            single_replica=True,
            metrics_listen="127.0.0.1:0",
            cache_quarantine=0,
            cache_index_quarantine=0,
        ) as opened,
    ):
        await eventually(lambda: opened.check())
        yield opened


def _key(at: int) -> Item:
    return Item(attributes={"user_id": AttributeValue(s=VIKTOR), "at": AttributeValue(n=str(at))})


async def test_every_read_names_the_table_by_its_arn(service: Service, table: Table) -> None:
    """Queries, scans, gets and batches do, and batches that complete the items of an index."""
    assert numbers((await service.query(_SPEC)).items, "at") == [6, 7, 8, 9, 10]
    assert numbers((await service.query(query_spec("events", "note <> 'x'"))).items, "at")
    one = query_spec("events", "user_id = :u AND at = 7", parameters={"u": VIKTOR})
    assert numbers((await service.query(one)).items, "at") == [7]
    whole = query_spec("events", "kind = 'login'", index="by_kind")
    assert numbers((await service.query(whole)).items, "level") == [10 % 7]
    assert (await service.count(_SPEC)).total.value == 5
    results = (await service.get("events", [_key(8), _key(88)])).results
    assert [one.WhichOneof("result") for one in results] == ["item", "missing_key"]
    assert set(table.named) == {table.arn}


async def test_a_cached_page_is_invalidated_by_the_stream_of_the_table(
    service: Service, table: Table
) -> None:
    """The stream is that of the description, and its tags are those of the pages."""

    async def is_hit() -> bool:
        return (await service.query(_SPEC)).cache.status == CACHE_STATUS_HIT

    await eventually(lambda: metric(service, "stream_table_invalidations_total"))  # it is followed
    await eventually(is_hit)
    put_items(table.client, table.name, [event(VIKTOR, 11)])
    await eventually(lambda: metric(service, "stream_record_age_seconds_count"))
    assert numbers((await service.query(_SPEC)).items, "at") == [6, 7, 8, 9, 10, 11]


async def test_pages_are_invalidated_by_partition(service: Service) -> None:
    """A caller that has written names the partition as for any table."""
    await service.query(_SPEC)
    assert (await service.query(_SPEC)).cache.status == CACHE_STATUS_HIT
    await service.invalidate("events", user_id=VIKTOR)
    assert (await service.query(_SPEC)).cache.status == CACHE_STATUS_MISS
