"""Tests the affinity key of reads, and the header that carries it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from dynamodb_processor_client import DeadlineExceeded, Query, QueryClient, ResumePolicy
from dynamodb_processor_client.affinity import affinity_key, get_text, query_text, value_text
from tests.support.fake_service import Cut, Failure, FakeService
from tests.unit.client.fake_time import FakeTime

_CASES: Final = json.loads((Path(__file__).parents[2] / "cases/affinity.json").read_text("utf-8"))


@pytest.mark.parametrize("case", _CASES["hashes"], ids=lambda case: case["header"])
def test_a_hash_is_that_of_the_vector(case: dict[str, Any]) -> None:
    """The header is FNV-1a of the table's name, a zero byte and the text."""
    assert affinity_key(case["table"], case["text"] * case.get("times", 1)) == case["header"]


@pytest.mark.parametrize("case", _CASES["values"], ids=lambda case: case["text"])
def test_a_value_has_the_text_of_the_vector(case: dict[str, Any]) -> None:
    """Each spelling of a value has the same canonical text."""
    for value in case["values"]:
        assert value_text(ParseDict(value, AttributeValue())) == case["text"]


@pytest.mark.parametrize("case", _CASES["reads"], ids=lambda case: case["name"])
def test_a_read_has_the_text_of_the_vector(case: dict[str, Any]) -> None:
    """A read is identified by its partition where the client can tell it, else as a whole."""
    partition = case["partition"]
    if "query" in case:
        text = query_text(ParseDict(case["query"], QuerySpec()), partition)
    else:
        text = get_text(ParseDict({"attributes": case["key"]}, Item()), partition)
    assert text == case["text"]


async def test_reads_of_a_partition_carry_one_header(service: FakeService) -> None:
    """Every method that reads sends the same header for one partition, and no other method does."""
    service.table.table.key.partition.add(name="user_id")
    query = Query("numbers", "user_id = :u", u="u-7")
    async with QueryClient(service.address, affinity=True) as client:
        await client.query(query)
        await anext(client.stream(Query("numbers", "user_id = 'u-7' AND n > 3")))
        await client.count(query)
        await client.explain(query)
        await client.get("numbers", [{"user_id": "u-7", "n": 1}])
        await client.tables()
    sent = [metadata.get("x-affinity-key") for metadata in service.metadata]
    assert sent == [None, *[affinity_key("numbers", "S:u-7")] * 5, None]


async def test_a_header_needs_no_description_of_the_table(service: FakeService) -> None:
    """While the table cannot be described, equal reads have equal headers; later ones ask again."""
    service.failures.append(Failure(grpc.StatusCode.UNAVAILABLE))
    service.table.table.key.partition.add(name="user_id")
    options = [("grpc.enable_retries", 0)]
    async with QueryClient(service.address, affinity=True, options=options) as client:
        for _ in range(2):
            await client.query(Query("numbers", "user_id = 'u-7'"))
    sent = [metadata.get("x-affinity-key") for metadata in service.metadata]
    whole, partition = "user_id = 'u-7'", "S:u-7"
    expected = [affinity_key("numbers", whole), affinity_key("numbers", partition)]
    assert sent == [None, expected[0], None, expected[1]]


async def test_a_resumed_stream_has_the_same_header(service: FakeService, time: FakeTime) -> None:
    """The rest of a broken stream goes to the replica that sent its beginning."""
    service.table.table.key.partition.add(name="user_id")
    service.cuts.append(Cut(1, Failure(grpc.StatusCode.UNAVAILABLE)))
    policy = ResumePolicy(sleep=time.sleep, clock=time.read)
    async with QueryClient(service.address, affinity=True, resume=policy) as client:
        items = [item async for item in client.stream(Query("numbers", "user_id = 'u-7'"))]
    assert len(items) == 1_000
    sent = [metadata.get("x-affinity-key") for metadata in service.metadata]
    assert sent == [None, *[affinity_key("numbers", "S:u-7")] * 2]


async def test_without_the_option_nothing_is_sent(service: FakeService) -> None:
    """A client without it makes no other call, and its calls have no further header."""
    async with QueryClient(service.address) as client:
        await client.query(Query("numbers", "user_id = 'u-7'"))
    assert ["x-affinity-key" in metadata for metadata in service.metadata] == [False]


async def test_the_description_counts_towards_the_timeout(service: FakeService) -> None:
    """A call whose time has passed with the description of its table is not made."""
    service.table.table.key.partition.add(name="user_id")
    policy = ResumePolicy(clock=lambda: 2.0 if service.metadata else 0.0)
    async with QueryClient(service.address, affinity=True, resume=policy) as client:
        with pytest.raises(DeadlineExceeded, match="key of the table"):
            await client.query(Query("numbers"), timeout=1.0)
    assert len(service.metadata) == 1
