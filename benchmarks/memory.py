"""The resident memory of cached pages, as a ratio to their size on the wire.

The service as shipped reads 3,000 different pages of 100 items, each twice: a miss and a hit. Its
resident memory grows by the pages and by everything remembered beside them: requests, plans, tokens
and the entries of the cache. Prints the growth for each page and its ratio to the page's response.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import grpc
import workload
from figures import Figure, Ratio
from generators import METHOD
from servers import peer, service

_WARM_PAGES: Final = 2_000  # for the memory that does not grow with the pages
_PAGES: Final = 3_000
_SERVERS: Final = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    core, load_core = sorted(os.sched_getaffinity(0))[:2]
    with (
        tempfile.TemporaryDirectory(prefix="dynamodb-processor-memory-") as name,
        peer("stub.py", core=load_core) as stub,
    ):
        figures = measure(f"http://{stub.target}", Path(name), core)
    resident = figures["cached_page_resident_bytes"]
    wire = figures["cached_page_wire_bytes"]
    print(f"pages                  {_PAGES:10,}")
    print(f"response bytes a page  {wire.median:10,.0f}")
    print(f"resident bytes a page  {resident.median:10,.0f}")
    print(f"beside each page       {resident.median - wire.median:10,.0f}")
    print(f"resident_vs_wire       {Ratio(resident, wire).value:10.3f}")
    return 0


def measure(endpoint_url: str, directory: Path, core: int) -> dict[str, Figure]:
    """Return the bytes of resident memory and on the wire for each page.

    Each value is of a process of its own.
    """
    resident, wire = [], []
    for _ in range(_SERVERS):
        with (
            tempfile.TemporaryDirectory(dir=directory) as own,
            service(endpoint_url, Path(own), core) as (server, key),
        ):
            _request_twice(server.target, key, range(_WARM_PAGES))
            before = server.resident_bytes()
            users = range(_WARM_PAGES, _WARM_PAGES + _PAGES)
            wire.append(_request_twice(server.target, key, users) / _PAGES)
            resident.append((server.resident_bytes() - before) / _PAGES)
    return {
        "cached_page_resident_bytes": Figure(resident),
        "cached_page_wire_bytes": Figure(wire),
    }


def _request_twice(target: str, key: str, users: Sequence[int]) -> int:
    """Request a page of each user twice; return the bytes of the second responses."""
    template = workload.first_pages()[0]
    metadata = (("x-api-key", key),)
    size = 0
    with grpc.insecure_channel(target) as channel:
        query: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        for number in users:
            template.query.parameters["user"].s = workload.user(number)
            request = template.SerializeToString()
            query(request, metadata=metadata)
            size += len(query(request, metadata=metadata))
    return size


if __name__ == "__main__":
    sys.exit(main())
