"""The resident memory of cached pages, as a ratio to their size on the wire.

The service as shipped reads 3,000 different pages of 100 items, each twice: a miss and a hit. Its
resident memory grows by the pages and by everything remembered beside them: requests, plans, tokens
and the entries of the cache. Prints the growth for each page and its ratio to the page's response.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import grpc
import uvloop
import workload
from servers import REGION, Server, service

from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor_server.demo.dynamodb_local import dynamodb_local

_METHOD: Final = "/dynamodb_processor.v1.QueryService/Query"
_PAGE_SIZES: Final = (98, 99, 100)  # three different pages for each query of the workload
_WARM_PAGE_SIZES: Final = (91, 92)  # for the memory that does not grow with the pages


def main() -> int:
    """Measure and print; return the exit code."""
    core = min(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory(prefix="dynamodb-processor-memory-") as name,
        dynamodb_local() as endpoint_url,
    ):
        workload.load_table(endpoint_url, REGION)
        with service(endpoint_url, Path(name), core) as (server, key):
            uvloop.run(_fill(server, key, _WARM_PAGE_SIZES))
            before = _resident_bytes(server)
            wire, pages = uvloop.run(_fill(server, key, _PAGE_SIZES))
            growth = _resident_bytes(server) - before
    print(f"pages                  {pages:10,}")
    print(f"response bytes a page  {wire / pages:10,.0f}")
    print(f"resident bytes a page  {growth / pages:10,.0f}")
    print(f"beside each page       {(growth - wire) / pages:10,.0f}")
    print(f"resident_vs_wire       {growth / wire:10.3f}")
    return 0


def _resident_bytes(server: Server) -> int:
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def _fill(server: Server, key: str, page_sizes: Sequence[int]) -> tuple[int, int]:
    """Request every page twice; return the bytes of the responses of each, and their number."""
    metadata = (("x-api-key", key),)
    wire = pages = 0
    async with grpc.aio.insecure_channel(server.target) as channel:
        query = channel.unary_unary(_METHOD, QueryRequest.SerializeToString)
        for size in page_sizes:
            for request in workload.first_pages():
                request.page_size = size
                await query(request, metadata=metadata)
                wire += len(await query(request, metadata=metadata))
                pages += 1
    return wire, pages


if __name__ == "__main__":
    sys.exit(main())
