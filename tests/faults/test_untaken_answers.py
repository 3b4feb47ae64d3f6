"""Answers that one principal requests and does not read: their memory and its duration."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import grpc

from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from tests.faults.load import events_schema
from tests.support.access import ApiKey, keys_file
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.http2_peer import silent_peer
from tests.support.lengths import at_length
from tests.support.memory import resident_mebibytes
from tests.support.messages import spec
from tests.support.processes import ServerProcess, serving
from tests.support.running import eventually

_LOUD: Final = ApiKey("loud")
_QUIET: Final = ApiKey("quiet")
_QUERY: Final = "/dynamodb_processor.v1.QueryService/Query"
_ITEMS, _ITEM_BYTES = 8, 390_000
_CONNECTIONS: Final = 3
_CALLS: Final = at_length(40, 200)  # On each connection.
_SHARE: Final = 64 * 1024 * 1024  # Bytes of unread answers that one principal may have, by default.
_PATIENCE: Final = 120.0  # Seconds.
_MOST_GROWTH: Final = 250  # MB: gRPC copies the messages it sends, and the cache has the page once.


def _create(endpoint: str) -> str:
    table = f"untaken-{uuid.uuid4().hex[:8]}"
    client = open_client(endpoint)
    try:
        create_table(client, events_schema(table))
        items = [
            {"user_id": {"S": "u"}, "seq": {"N": str(seq)}, "note": {"S": "n" * _ITEM_BYTES}}
            for seq in range(_ITEMS)
        ]
        put_items(client, table, items)
    finally:
        client.close()
    return table


async def _metric(server: ServerProcess, name: str, labels: str = "") -> float:
    return await asyncio.to_thread(server.metric, name, labels)


async def test_unread_answers_are_bounded(
    tmp_path: Path, dynamodb_local: str, report: Callable[[str, str, str], None]
) -> None:
    """One principal's are bounded in bytes and end with their connections; others are served."""
    table = await asyncio.to_thread(_create, dynamodb_local)
    request = QueryRequest(query=spec("events", "user_id = 'u'"))
    options = [("grpc.max_receive_message_length", 8 * 1024 * 1024)]
    async with (
        serving(
            {"tables": {"events": {"table": table}}},
            keys_file(_LOUD, _QUIET),
            tmp_path,
            endpoint_url=dynamodb_local,
            args=("--unary-deadline=20", "--drain-delay=0", "--drain-grace=1"),
        ) as server,
        grpc.aio.insecure_channel(server.address, options=options) as channel,
        AsyncExitStack() as stack,
    ):
        queries = QueryServiceStub(channel)

        async def ask() -> int:
            page = await queries.Query(request, metadata=[("x-api-key", _QUIET.text)])
            return len(page.items)

        assert await ask() == _ITEMS
        before = resident_mebibytes(server.process.pid)
        for _ in range(_CONNECTIONS):
            peer = await stack.enter_async_context(silent_peer(server.address))
            for _ in range(_CALLS):
                await peer.call(_QUERY, request.SerializeToString(), _LOUD.text)
        left = _SHARE // (_ITEMS * _ITEM_BYTES)  # Answers for which there is room.
        refusals = _CONNECTIONS * _CALLS - left

        async def all_came() -> bool:
            return await _metric(server, "bound_refusals_total", 'bound="unsent_bytes"') >= refusals

        await eventually(all_came, patience=_PATIENCE)
        unsent = await _metric(server, "unsent_bytes")
        growth = resident_mebibytes(server.process.pid) - before
        assert await ask() == _ITEMS

        async def none_left() -> bool:
            return await _metric(server, "unsent_bytes") == 0

        await eventually(none_left, patience=_PATIENCE)
        closed = await _metric(server, "connections_closed_total")

    report(
        f"{_CONNECTIONS * _CALLS} answers of 3.1 MB that one principal does not take",
        f"RSS ≤ +{_MOST_GROWTH} MB, others are answered, all gone after `unary_deadline`",
        f"RSS +{growth:.0f} MB with {unsent / 1e6:.0f} MB not taken; at the first look "
        f"{closed:.0f} connections closed",
    )
    assert unsent <= _SHARE
    assert growth <= _MOST_GROWTH
    assert closed >= 1
