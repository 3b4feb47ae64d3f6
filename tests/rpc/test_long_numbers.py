"""Tests that numbers that are short in DynamoDB are short on the wire, in both directions."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any, Final

import pytest
import pytest_asyncio

from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from dynamodb_processor_client import Query, QueryClient
from tests.support.conditions import WireItem
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.messages import from_item
from tests.support.oracle import canonical_item
from tests.support.running import Key, Service, make_key, open_service, query_spec

pytestmark = pytest.mark.asyncio(loop_scope="module")

_DIGITS: Final = "1234567890123456789012345678901234567"
_NUMBERS: Final = ("1E125", "-1E-130", "9E20", f"{_DIGITS}8E88", f"-{_DIGITS}8E-167", "1E19", "0.5")
_SENT: Final = (
    "1E+125", "-1E-130", "9E+20", f"1.{_DIGITS[1:]}8E+125", f"-1.{_DIGITS[1:]}8E-130",
    "1" + "0" * 19, "0.5",
)  # fmt: skip
_LARGE: Final[WireItem] = {
    "id": {"S": "large"},
    "at": {"N": "0"},
    "data": {"NS": [f"{number}E119" for number in range(100_000, 134_000)]},
}


@pytest.fixture(scope="module")
def key() -> Key:
    """A key that may read everything and invalidate."""
    return make_key("tester", roles=["reader", "admin"])


@pytest.fixture(scope="module")
def numbered(dynamodb_local: str) -> Iterator[str]:
    """A table whose sort keys are long numbers, and with items of very many of them."""
    table = f"rpc-numbers-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    create_table(client, Schema(table, "id", "at", (), {"id": "S", "at": "N"}))
    put_items(
        client,
        table,
        ({"id": {"S": "keys"}, "at": {"N": number}, "n": {"N": number},
          "ns": {"NS": [number, "7"]}, "l": {"L": [{"N": format(Decimal(number), "f")}]},
          "m": {"M": {"N": {"N": format(Decimal(number), "f")}}}}
         for number in _NUMBERS),  # DynamoDB Local writes out those that are not nested
    )  # fmt: skip
    put_items(client, table, [_LARGE])
    yield table
    client.delete_table(TableName=table)
    client.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def numbers(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, numbered: str, key: Key
) -> AsyncIterator[Service]:
    """A server of that table."""
    directory = tmp_path_factory.mktemp("numbers")
    catalog = {"tables": {"numbers": {"table": numbered}}}
    slow: dict[str, Any] = {
        "backend_read_timeout": 60.0,
        "shared_read_timeout": 60.0,
    }  # DynamoDB Local writes out megabytes
    async with open_service(directory, dynamodb_local, catalog, [key], **slow) as service:
        yield service


def _key(at: str) -> Item:
    return Item(attributes={"id": AttributeValue(s="keys"), "at": AttributeValue(n=at)})


async def test_numbers_are_sent_short(numbers: Service) -> None:
    """Numbers of up to 20 characters are sent unchanged, in every place and by every method."""
    spec = query_spec("numbers", "id = 'keys'")
    page = await numbers.query(spec)
    sent = sorted(_SENT, key=Decimal)
    assert [item.attributes["at"].n for item in page.items] == sent
    for item, number in zip(page.items, sent, strict=True):
        held = from_item(item)
        assert held["n"] == {"N": number}
        assert set(held["ns"]["NS"]) == {number, "7"}
        assert held["l"] == {"L": [{"N": number}]}
        assert held["m"] == {"M": {"N": {"N": number}}}
    messages = await numbers.messages(spec, page_size=2)
    assert [item for message in messages for item in message.items] == list(page.items)
    answer = await numbers.get("numbers", [_key(number) for number in sent])
    assert [result.item for result in answer.results] == list(page.items)


async def test_numbers_that_went_out_come_back(numbers: Service, key: Key) -> None:
    """They are accepted in parameters, literals, keys, sort keys of tokens, and invalidations."""
    spec = query_spec("numbers", "id = 'keys'")
    items = (await numbers.query(spec)).items
    seen: list[Item] = []
    token = ""
    while True:
        page = await numbers.query(spec, page_size=1, page_token=token)
        seen += page.items
        token = page.next_page_token
        if not token:
            break
    assert seen == list(items)
    for item in items:
        number = item.attributes["at"]
        for parameters, text in (({"n": number}, ":n"), ({}, number.n)):
            spec = query_spec("numbers", f"id = 'keys' AND at = {text}", parameters=parameters)
            assert list((await numbers.query(spec)).items) == [item]
            explained = await numbers.explain(spec)
            again = query_spec("numbers", explained.key_condition)
            assert list((await numbers.query(again)).items) == [item]
        whole = {name: value for name, value in item.attributes.items() if name not in ("id", "at")}
        text = " AND ".join(f"{name} = :{name}" for name in whole)
        spec = query_spec("numbers", f"id = 'keys' AND {text}", parameters=whole)
        assert list((await numbers.query(spec)).items) == [item]
    async with QueryClient(numbers.app.address, api_key=key.text) as client:
        page_ = await client.query(Query("numbers", "id = :i", i="keys"))
        assert [item["at"] for item in page_.items] == sorted(map(Decimal, _NUMBERS))
        keys = [{"id": "keys", "at": item["at"]} for item in page_.items]
        assert await client.get("numbers", keys) == list(page_.items)


async def test_an_item_of_very_many_long_numbers_is_read(numbers: Service) -> None:
    """It has 166 KB in DynamoDB, and had 4.4 MB on the wire, which gRPC refuses."""
    spec = query_spec("numbers", "id = 'large'")
    page: Any = await numbers.query(spec)
    messages = await numbers.messages(spec)
    large = Item(attributes={"id": AttributeValue(s="large"), "at": AttributeValue(n="0")})
    answer = await numbers.get("numbers", [large])
    for items in (
        page.items,
        [item for message in messages for item in message.items],
        [result.item for result in answer.results],
    ):
        assert [canonical_item(from_item(item)) for item in items] == [canonical_item(_LARGE)]
        assert items[0].ByteSize() < 600_000
