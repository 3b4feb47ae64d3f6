"""The CPU that preparing a query takes: of a known shape with new values, and planned anew.

Both run in this process on the service's own parts, in turn. A round prepares queries that differ
in their values alone: first by one preparer, which has seen the shape, then each by a preparer of
its own. Decoding the request is not included. Prints the microseconds of each round as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import workload
from servers import REGION, write_files

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.limits.call_rate import RateClass
from dynamodb_processor_server.limits.planning_time import PlanningTimeLimits
from dynamodb_processor_server.rpc.decode.page_request import RawQuerySpec
from dynamodb_processor_server.rpc.planning import PlanningWork
from dynamodb_processor_server.rpc.prepared_queries import QueryPreparer
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.wiring.service import build_service

_QUERIES: Final = 200
_UNLIMITED: Final = {"default": RateClass(1_000_000, planning_seconds_per_second=None)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("endpoint", help="the endpoint URL of DynamoDB")
    parser.add_argument("rounds", type=int, help="the number of rounds")
    args = parser.parse_args(arguments)
    print(json.dumps(asyncio.run(measure(args.endpoint, args.rounds))))
    return 0


async def measure(endpoint_url: str, rounds: int) -> dict[str, list[float]]:
    """Return the microseconds of a preparation, one figure for each round; the first warms up."""
    with tempfile.TemporaryDirectory(prefix="dynamodb-processor-bench-") as directory:
        async with AsyncExitStack() as stack:
            catalog_file, keys_file, _ = write_files(Path(directory))
            settings = Settings(
                catalog=catalog_file,
                keys=keys_file,
                region=REGION,
                endpoint_url=endpoint_url,
                rate_classes=_UNLIMITED,
            )
            service = await build_service(settings, stack)
            await service.catalog.refresh()
            principal = service.identity.keys_file.current.principals[0]
            return await _rounds(service.catalog, principal, rounds)


async def _rounds(catalog: Catalog, principal: Principal, rounds: int) -> dict[str, list[float]]:
    work = PlanningWork(PlanningTimeLimits(_UNLIMITED), ThreadPoolExecutor(1))

    def preparer() -> QueryPreparer:
        return QueryPreparer(catalog, work)

    known = preparer()
    figures: dict[str, list[float]] = {"prepare_known_shape": [], "prepare_anew": []}
    gc.disable()  # it would charge some rounds with the others' garbage
    for number in range(rounds + 1):
        specs = [_spec(number * _QUERIES + query) for query in range(_QUERIES)]
        new = [preparer() for _ in specs]
        for name, preparers in (("prepare_known_shape", [known] * _QUERIES), ("prepare_anew", new)):
            used = await _prepare(preparers, specs, principal)
            if number:
                figures[name].append(used / _QUERIES * 1e6)
        gc.collect()
    return figures


async def _prepare(
    preparers: Sequence[QueryPreparer], specs: Sequence[RawQuerySpec], principal: Principal
) -> float:
    began = time.process_time()
    for preparer, spec in zip(preparers, specs, strict=True):
        await preparer.prepare(spec, principal, ())
    return time.process_time() - began


def _spec(number: int) -> RawQuerySpec:
    message = QuerySpec()
    message.CopyFrom(workload.first_pages()[0].query)
    message.parameters["user"].s = f"user-{number:09d}"
    return RawQuerySpec.of(message)


if __name__ == "__main__":
    sys.exit(main())
