"""The subjects of the benchmark: servers under load, and libraries in the caller."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import workload
from generators import K6, METHOD, Frames, Load, Outcome
from servers import Server, floor, library, peer, service

from dynamodb_processor.v1.query_service_pb2 import QueryRequest, QueryResponse

USUAL: Final = 50  # concurrent calls of the figures that are compared
SWEEP: Final = (10, USUAL, 500)
THREADS: Final = (1, 10, 50)


@dataclass(frozen=True, slots=True)
class Sample:
    """One run against one subject; `busy` is the share of its core that it used."""

    callers: int
    outcome: Outcome
    cpu_us_per_call: float
    busy: float


@dataclass(frozen=True, slots=True)
class Subject:
    """A measured process and the way to load it with a number of callers.

    `usual` is the number of callers of the figures that are compared. `status` is the cache status
    that all reads must have.
    """

    name: str
    server: Server
    load: Callable[[int, float], Outcome]
    levels: Sequence[int]
    usual: int = USUAL
    status: str = ""

    def measure(self, callers: int, seconds: float) -> Sample:
        """Load the subject for some seconds. Raises SystemExit for reads of another status."""
        reads, cpu, began = self.server.reads(), self.server.cpu_seconds(), time.monotonic()
        outcome = self.load(callers, seconds)
        used, elapsed = self.server.cpu_seconds() - cpu, time.monotonic() - began
        made = dict(self.server.reads() - reads)
        if self.status and made.keys() != {self.status}:
            raise SystemExit(f"{self.name}: all reads should be {self.status}, but are {made}")
        return Sample(callers, outcome, used / outcome.calls * 1e6, used / elapsed)


class Subjects:
    """Starts every subject; `stack` ends them. All run on one core, one under load at a time."""

    def __init__(self, stack: ExitStack, endpoint_url: str, directory: Path, core: int) -> None:
        self._stack, self._endpoint_url = stack, endpoint_url
        self._directory, self._core = directory, core
        self.page_bytes = 0
        self.idle_bytes: dict[str, int] = {}  # memory before the first call

    def start(self) -> list[Subject]:
        """Return the subjects, those that are compared with each other side by side."""
        cached, key = self._service("hits")
        requests, payload = _warm(cached.target, key)
        self.page_bytes = len(payload)
        hits = Load("unary", requests, workload.schedule())
        bare = self._stack.enter_context(floor(payload, self._directory, self._core))
        uncached, other_key = self._service("misses")
        new = requests[:1]
        naive = self._peer("peers/naive_service.py")
        fastapi = self._peer("peers/fastapi_service.py")
        for name, server in (("service", uncached), ("floor", bare), ("naive", naive)):
            self.idle_bytes[name] = server.resident_bytes()
        self.idle_bytes["fastapi"] = fastapi.resident_bytes()
        popular = Load("http", requests, workload.schedule(), "/cached")
        return [
            self._loaded("floor", bare, hits),
            self._loaded("hit", cached, hits, key, status="HIT"),
            self._saturated("floor_saturated", bare, hits),
            self._saturated("hit_saturated", cached, hits, key, status="HIT"),
            self._loaded("fastapi_cached", fastapi, popular),
            self._loaded("miss", uncached, Load("unary", new), other_key, status="MISS"),
            self._library("aiobotocore"),
            self._library("aiodynamo"),
            self._loaded("naive", naive, Load("unary", new)),
            self._loaded("fastapi_plain", fastapi, Load("http", new, path="/plain")),
            self._library("boto3", THREADS),
            self._library("pynamodb", THREADS),
            self._loaded("stream", uncached, Load("stream", new), other_key, (10,), status="MISS"),
            self._library("boto3_paginator", (1,)),
        ]

    def _service(self, name: str) -> tuple[Server, str]:
        directory = self._directory / name
        directory.mkdir()
        return self._stack.enter_context(service(self._endpoint_url, directory, self._core))

    def _peer(self, script: str) -> Server:
        running = peer(script, self._endpoint_url, workload.TABLE, core=self._core)
        return self._stack.enter_context(running)

    def _loaded(
        self,
        name: str,
        server: Server,
        load: Load,
        key: str = "none",
        levels: Sequence[int] = SWEEP,
        status: str = "",
    ) -> Subject:
        k6 = K6(load, key, self._directory)

        def run(callers: int, seconds: float) -> Outcome:
            return k6.run(server.target, callers, seconds)

        usual = USUAL if USUAL in levels else levels[0]
        return Subject(name, server, run, levels, usual, status)

    def _saturated(
        self, name: str, server: Server, load: Load, key: str = "none", status: str = ""
    ) -> Subject:
        frames = Frames(load.requests, load.schedule, key)

        def run(callers: int, seconds: float) -> Outcome:
            return frames.run(server.target, callers, seconds)

        return Subject(name, server, run, (USUAL,), USUAL, status)

    def _library(self, name: str, levels: Sequence[int] = SWEEP) -> Subject:
        server = self._stack.enter_context(library(name, self._endpoint_url, self._core))

        def run(callers: int, seconds: float) -> Outcome:
            process = server.process
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{callers} {seconds}\n".encode())
            process.stdin.flush()
            said = json.loads(process.stdout.readline())
            return Outcome(said["calls"], said["calls"] / said["elapsed"])

        return Subject(name, server, run, levels, USUAL if levels is SWEEP else levels[0])


def _warm(target: str, key: str) -> tuple[list[QueryRequest], bytes]:
    """Put every page in the cache; return the requests by rank and an answer of the usual size."""
    requests: list[QueryRequest] = []
    second_pages = workload.second_page_ranks()
    metadata = (("x-api-key", key),)
    with grpc.insecure_channel(target) as channel:
        query = channel.unary_unary(
            METHOD, QueryRequest.SerializeToString, QueryResponse.FromString
        )
        for rank, request in enumerate(workload.first_pages()):
            if rank in second_pages:
                answer = query(request, metadata=metadata)
                request.page_token = answer.next_page_token
            requests.append(request)
        for request in requests:
            query(request, metadata=metadata)
        answers = [query(request, metadata=metadata) for request in requests]
    if any(len(answer.items) != workload.PAGE_SIZE for answer in answers):
        raise SystemExit("not every page is full")
    answers.sort(key=lambda answer: answer.ByteSize())
    return requests, answers[len(answers) // 2].SerializeToString()
