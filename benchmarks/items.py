"""The CPU of a get whose 10 items are all cached, beside a bare `grpc.aio` handler.

The service as shipped has read 1,000 different gets before; their keys are drawn from 100,000 by
Zipf's law. The bare handler answers every call with the bytes of one such response. Both are kept
busy in turn, round after round, on one core. Metrics prove that no call read DynamoDB. Prints the
microseconds of CPU per call, and their ratio.
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
from generators import GET_METHOD, Frames
from servers import Server, floor, peer, service

from dynamodb_processor.v1.query_service_pb2 import BatchGetItemsRequest, BatchGetItemsResponse

_ROUNDS: Final = 7
_SECONDS: Final = 1.5
_CALLERS: Final = 50


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    core, load_core = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {load_core})
    with (
        tempfile.TemporaryDirectory(prefix="dynamodb-processor-items-") as name,
        peer("stub.py", core=load_core) as stub,
    ):
        figures = measure(f"http://{stub.target}", Path(name), core)
    for name, figure in figures.items():
        low, high = figure.spread
        print(f"{name:12}{figure.median:8.1f} us/call   {low:.1f} to {high:.1f}")
    ratio = Ratio(figures["get"], figures["get_floor"])
    low, high = ratio.by_round.spread
    print(f"get_vs_floor{ratio.value:8.3f}           {low:.3f} to {high:.3f}")
    return 0


def measure(endpoint_url: str, directory: Path, core: int) -> dict[str, Figure]:
    """Return the microseconds of CPU per call of the service and of the floor, by round."""
    with (
        tempfile.TemporaryDirectory(dir=directory) as own,
        service(endpoint_url, Path(own), core) as (server, key),
    ):
        requests = workload.gets()
        payload = _warm(server.target, key, requests)
        load = Frames(requests, range(len(requests)), key, GET_METHOD)
        with floor(payload, Path(own), core) as bare:
            figures: dict[str, list[float]] = {"get_floor": [], "get": []}
            for number in range(_ROUNDS + 1):
                for name, subject in (("get_floor", bare), ("get", server)):
                    used = _cpu_per_call(subject, load)
                    if number:  # the first round warms up
                        figures[name].append(used)
    return {name: Figure(values) for name, values in figures.items()}


def _warm(target: str, key: str, requests: Sequence[BatchGetItemsRequest]) -> bytes:
    """Put every item in the cache; return a response of the usual size."""
    metadata = (("x-api-key", key),)
    with grpc.insecure_channel(target) as channel:
        get = channel.unary_unary(
            GET_METHOD, BatchGetItemsRequest.SerializeToString, BatchGetItemsResponse.FromString
        )
        for request in requests:
            get(request, metadata=metadata)
        answers = [get(request, metadata=metadata) for request in requests]
    if any(not result.HasField("item") for answer in answers for result in answer.results):
        raise SystemExit("not every item was returned")
    answers.sort(key=BatchGetItemsResponse.ByteSize)
    return answers[len(answers) // 2].SerializeToString()


def _cpu_per_call(server: Server, load: Frames) -> float:
    """Return the microseconds of CPU per call. Raises SystemExit if a call was no hit."""
    reads, cpu = server.reads(), server.cpu_seconds()
    outcome = load.run(server.target, _CALLERS, _SECONDS)
    used = server.cpu_seconds() - cpu
    made = server.reads() - reads
    if made.keys() - {"HIT"}:
        raise SystemExit(f"all gets should be HIT, but are {dict(made)}")
    return used / outcome.calls * 1e6


if __name__ == "__main__":
    sys.exit(main())
