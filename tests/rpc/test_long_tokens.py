"""Tests tokens of many partitions with long keys."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import open_service, query_spec

_PARTITIONS: Final = tuple(f"{number:02}" + "p" * 2_046 for number in range(50))
_PAGE: Final = 30


@pytest.fixture
def table(dynamodb_local: str) -> Iterator[str]:
    """A table of fifty partitions with two items each, all keys as long as they may be."""
    name = f"rpc-long-keys-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    create_table(client, Schema(name, "id", "at", (), {"id": "S", "at": "S"}))
    put_items(
        client,
        name,
        ({"id": {"S": p}, "at": {"S": at + "s" * 1_023}} for p in _PARTITIONS for at in "ab"),
    )
    yield name
    client.delete_table(TableName=name)
    client.close()


async def test_a_token_of_fifty_long_keys_comes_back(
    tmp_path: Path, dynamodb_local: str, table: str
) -> None:
    """It has more than 64 KiB, the earlier limit; pages and streams continue from it."""
    listed = ", ".join(f":p{number}" for number in range(len(_PARTITIONS)))
    parameters = {f"p{number}": value for number, value in enumerate(_PARTITIONS)}
    spec = query_spec("long", f"id IN ({listed})", parameters=parameters)
    async with open_service(tmp_path, dynamodb_local, {"tables": {"long": {"table": table}}}) as s:
        seen: list[tuple[str, str]] = []
        token, longest = "", 0
        while True:
            page = await s.query(spec, page_size=_PAGE, page_token=token)
            seen += [(i.attributes["at"].s[0], i.attributes["id"].s) for i in page.items]
            token = page.next_page_token
            longest = max(longest, len(token))
            if not token:
                break
        first = await s.query(spec, page_size=_PAGE)
        messages = await s.messages(spec, resume_token=first.next_page_token)
    assert longest > 128 * 1024
    assert seen == [(at, partition) for at in "ab" for partition in _PARTITIONS]
    assert sum(len(message.items) for message in messages) == 100 - _PAGE
