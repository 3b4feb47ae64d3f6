"""Tests that one caller's failing input is no failure of its table: other callers are served."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from dynamodb_processor.v1.query_pb2 import CACHE_MODE_BYPASS, CachePolicy
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.faults.stub import Ask, Reply, open_stub, refusal, reply_with
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client
from tests.support.running import make_key, open_service, query_spec

_HALF: Final = "a\ud83d"  # half of a surrogate pair, which DynamoDB Local stores
_BYPASS: Final = CachePolicy(mode=CACHE_MODE_BYPASS)


@pytest.fixture
def table(dynamodb_local: str) -> Iterator[str]:
    """A table of three items, of which two have bytes that are no text."""
    name = f"rpc-single-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    create_table(client, Schema(name, "p", "s", (), {"p": "S", "s": "S"}))
    for item in (
        {"p": {"S": "x"}, "s": {"S": "1"}, "v": {"S": _HALF}, _HALF: {"N": "1"}},
        {"p": {"S": "x"}, "s": {"S": _HALF}, "v": {"L": [{"SS": ["b", _HALF]}]}},
        {"p": {"S": "x"}, "s": {"S": "b"}, "v": {"S": "fine"}},
    ):
        client.put_item(TableName=name, Item=item)
    yield name
    client.delete_table(TableName=name)
    client.close()


async def test_invalid_text_is_returned_as_bytes(
    table: str, tmp_path: Path, dynamodb_local: str
) -> None:
    """Pages, streams and gets return it; no item is lost and no request retried."""
    catalog = {"tables": {"t": {"table": table}}}
    half = _HALF.encode("utf-8", "surrogatepass")
    async with open_service(tmp_path, dynamodb_local, catalog) as service:
        items: list[Item] = []
        token = ""
        while True:
            answer = await service.query(
                query_spec("t", "p = 'x'"), page_size=1, page_token=token, cache=_BYPASS
            )
            assert answer.stats.backend_calls == 1
            items += answer.items
            token = answer.next_page_token
            if not token:
                break
        assert [item.attributes["v"].WhichOneof("value") for item in items] == ["b", "l", "s"]
        assert items[0].attributes["v"].b == half
        assert items[0].attributes[r"a\ud83d"].n == "1"
        assert items[1].attributes["s"].b == half
        assert list(items[1].attributes["v"].l.values[0].bs.values) == [half, b"b"]
        streamed = await service.messages(query_spec("t", "p = 'x'"))
        assert [item for message in streamed for item in message.items] == items
        key = Item(attributes={"p": AttributeValue(s="x"), "s": AttributeValue(s="1")})
        got = await service.get("t", [key])
        assert got.results[0].item == items[0]


async def test_a_number_that_is_none_keeps_no_other_item_from_being_found(
    table: str, tmp_path: Path, dynamodb_local: str
) -> None:
    """This holds for evaluated conditions, rules and times to live, and in gets."""

    async def read(request: dict[str, Any], ask: Ask) -> Reply:
        answer = await ask(request)
        for item in (*answer.get("Items", ()), *answer.get("Responses", {}).get(table, ())):
            if item["s"]["S"] == "b":
                item["v"] = {"N": "1" * 50}
                item["gone"] = {"N": "soon"}
        return reply_with(answer)

    entry = {"table": table, "time_to_live": "gone", "hide_expired": True}
    ruled = make_key("ruled", tables=[{"table": "t", "rule": "NOT v = 5", "rule_as_filter": True}])
    async with (
        open_stub(dynamodb_local, {"Query": read, "BatchGetItem": read}) as stub,
        open_service(
            tmp_path,
            f"http://127.0.0.1:{stub.port}",
            {"tables": {"t": entry}},
            [make_key("reader"), ruled],
        ) as service,
    ):
        keys = [
            Item(attributes={"p": AttributeValue(s="x"), "s": AttributeValue(s=text)})
            for text in ("1", "b")
        ]
        for key in ("reader", "ruled"):
            answer = await service.query(query_spec("t", "p = 'x'"), key=key)
            assert len(answer.items) == 3
            (odd,) = (item for item in answer.items if item.attributes["s"].s == "b")
            assert odd.attributes["v"].n == "1" * 50
            inverted = "p = 'x' AND (v BETWEEN 9 AND 1 OR s <> '1')"  # only the service says so
            assert len((await service.query(query_spec("t", inverted), key=key)).items) == 2
            got = await service.get("t", keys, key=key)
            assert [result.WhichOneof("result") for result in got.results] == ["item", "item"]


async def test_a_request_that_always_fails_opens_no_breaker(
    table: str, tmp_path: Path, dynamodb_local: str
) -> None:
    """Its caller gets the error each time; the table's other queries are served."""

    def script(number: int, body: bytes) -> Reply | None:
        return refusal("InternalServerError", 500) if b"poison" in body else None

    catalog = {"tables": {"t": {"table": table}}}
    async with (
        open_stub(dynamodb_local) as stub,
        open_service(
            tmp_path, f"http://127.0.0.1:{stub.port}", catalog, backend_attempts=1
        ) as service,
    ):
        stub.script = script
        for _ in range(30):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await service.query(query_spec("t", "p = 'poison'"), cache=_BYPASS)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        answer = await service.query(query_spec("t", "p = 'x' AND s > '1'"), cache=_BYPASS)
        assert len(answer.items) == 2
        assert stub.reads == 31, "no breaker kept a request back"
