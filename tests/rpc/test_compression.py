"""Tests the compression of responses, if the operator enables it."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from tests.faults.proxy import open_proxy
from tests.rpc.data import ULRIKE, events_catalog
from tests.support.lengths import PATIENCE
from tests.support.running import open_service, query_spec


@pytest.mark.parametrize(("compression", "smaller"), [("off", False), ("gzip", True)])
async def test_pages_are_compressed_if_that_is_set(
    tmp_path: Path, dynamodb_local: str, events: str, compression: str, smaller: bool
) -> None:
    """Callers get the same page, in fewer bytes on the wire, for a hit and a miss."""
    spec = query_spec("events", "user_id = :u", parameters={"u": ULRIKE})
    async with open_service(
        tmp_path, dynamodb_local, events_catalog(events), compression=compression
    ) as service:
        host, _, port = service.app.address.rpartition(":")
        async with (
            open_proxy(host, int(port)) as proxy,
            grpc.aio.insecure_channel(f"127.0.0.1:{proxy.port}") as channel,
        ):
            queries = QueryServiceStub(channel)
            for _ in range(2):
                before = proxy.received
                page = await queries.Query(
                    QueryRequest(query=spec, page_size=100),
                    metadata=service.metadata(),
                    timeout=PATIENCE,
                )
                assert len(page.items) == 100
                assert (proxy.received - before < page.ByteSize() / 3) is smaller
