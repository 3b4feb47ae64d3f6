"""Tests of the spans of reads that callers share, and of requests to DynamoDB."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.cache.quarantine import DEFAULT_QUARANTINE
from dynamodb_processor_server.cache.reader import CachingReader
from dynamodb_processor_server.dynamodb.backend import Backend, BackendSettings
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.reader import CacheMode, CachePolicy, CacheStatus, Page, PageRead
from dynamodb_processor_server.telemetry.backend import BackendMetrics
from dynamodb_processor_server.telemetry.exemplars import Exemplars
from dynamodb_processor_server.telemetry.tracing.reads import traced_cached_reader
from dynamodb_processor_server.telemetry.tracing.requests import traced_attempts
from dynamodb_processor_server.telemetry.tracing.spans import recorded_ids
from tests.support.fake_reader import InMemoryReader
from tests.support.reads import CALLER, make_read
from tests.support.recorded_spans import METHOD, Recorder, attributes_of, id_of, parent_of
from tests.unit.dynamodb.scripted_client import EVENTS, FAILED, Script, refusal
from tests.unit.dynamodb.small_table import make_items, make_plan

CALL = METHOD[1:]
PLAN = make_plan()


@dataclass
class Gated:
    """A reader whose reads wait for `gate`, and the cache above it."""

    recorder: Recorder = field(default_factory=Recorder)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    now: float = 1_000.0

    def __post_init__(self) -> None:
        self._table = InMemoryReader(make_items(25), now=lambda: self.now)
        self.reader: CachingReader = traced_cached_reader(
            self.recorder.spans,
            self,
            PageStore(1_000_000, lambda: self.now),
            Generations(lambda: self.now),
            20.0,
            DEFAULT_QUARANTINE,
            now=lambda: self.now,
        )

    async def read_page(self, request: PageRead) -> Page:
        """Read when the gate is open."""
        await self.gate.wait()
        return await self._table.read_page(request)

    async def call(self, **options: Any) -> Page:
        """Read a page in a call of its own."""
        with self.recorder.call():
            return await self.reader.read_page(make_read(PLAN, **options))


@pytest.fixture
def gated() -> Gated:
    """A table that nobody has read."""
    return Gated()


async def run_tasks() -> None:
    """Let all tasks run until they wait."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_wait_for_the_read_of_another_call_links_to_it(gated: Gated) -> None:
    """The leader's trace has the read, and each follower's a link to it."""
    leader = asyncio.create_task(gated.call())
    await run_tasks()
    followers = [asyncio.create_task(gated.call()) for _ in range(2)]
    await run_tasks()
    gated.gate.set()
    pages = [await task for task in (leader, *followers)]
    assert [page.status for page in pages] == [
        CacheStatus.MISS, CacheStatus.COALESCED, CacheStatus.COALESCED,
    ]  # fmt: skip
    read = gated.recorder.one("read page")
    waits = gated.recorder.named("join read")
    assert [[link.context.span_id for link in wait.links] for wait in waits] == [[id_of(read)]] * 2
    assert len({wait.context.trace_id for wait in (read, *waits) if wait.context}) == 3
    calls = {id_of(span) for span in gated.recorder.named(CALL)}
    assert {parent_of(span) for span in (read, *waits)} == calls


async def test_a_read_goes_on_in_the_trace_of_the_call_that_left(gated: Gated) -> None:
    """The read belongs to the call that began it, also after the end of that call."""
    leader = asyncio.create_task(gated.call())
    await run_tasks()
    follower = asyncio.create_task(gated.call())
    await run_tasks()
    leader.cancel()
    await asyncio.wait((leader,))
    gated.gate.set()
    await follower
    (left, stayed) = gated.recorder.named(CALL)
    read = gated.recorder.one("read page")
    assert parent_of(read) == id_of(left)
    assert read.status.status_code is StatusCode.UNSET
    (link,) = gated.recorder.one("join read").links
    assert link.context.span_id == id_of(read)
    assert parent_of(gated.recorder.one("join read")) == id_of(stayed)


@pytest.mark.parametrize(
    "options",
    [
        {"cache": CachePolicy(CacheMode.BYPASS)},
        {"cache": CachePolicy(CacheMode.REFRESH)},
        {"max_scanned_items": 3},
    ],
    ids=["bypass", "refresh", "budget"],
)
async def test_a_read_that_is_not_shared_is_one_span(gated: Gated, options: Any) -> None:
    """It has the same name as a shared one."""
    gated.gate.set()
    page = await gated.call(**options)
    read = gated.recorder.one("read page")
    assert parent_of(read) == id_of(gated.recorder.one(CALL))
    assert attributes_of(read)["dynamodb_processor.items"] == page.content.count
    assert attributes_of(read)["dynamodb_processor.page_end"] == page.content.end.value


async def test_a_stale_page_is_read_again_in_the_trace_of_its_call(gated: Gated) -> None:
    """The call has its answer before the read begins."""
    plan = make_plan(stale_while_revalidate=600.0)
    gated.gate.set()
    with gated.recorder.call():
        await gated.reader.read_page(make_read(plan))
    gated.now += 400.0
    with gated.recorder.call():
        page = await gated.reader.read_page(make_read(plan))
    assert page.status is CacheStatus.STALE
    await run_tasks()
    second = gated.recorder.named(CALL)[1]
    assert parent_of(gated.recorder.named("read page")[1]) == id_of(second)
    looked_up = [attributes_of(span) for span in gated.recorder.named("look up page")]
    assert [found["dynamodb_processor.cache"] for found in looked_up] == ["MISS", "STALE"]
    await gated.reader.close()


@dataclass
class Requests:
    """A backend whose attempts are traced, and their exemplars."""

    steps: Sequence[Exception | float]

    def __post_init__(self) -> None:
        self.recorder = Recorder()
        self.exemplars = Exemplars(recorded_ids)
        self.script = Script(self.steps)
        self.backend = Backend(
            cast("Any", self.script),
            BackendSettings(attempts=3),
            jitter=lambda: 0.0,
            around=traced_attempts(self.recorder.spans, self.exemplars),
        )

    async def read(self) -> None:
        """Make a request in a call."""
        target = EVENTS._replace(operation="Query", physical="e-1", index_name="by_day")
        with self.recorder.call():
            await self.backend.read(target, self.script.play, math.inf, CALLER)


def throttled() -> ClientError:
    """Return an answer that throttles, with the id of its request."""
    error = refusal("ProvisionedThroughputExceededException")
    error.response["ResponseMetadata"]["RequestId"] = "R-1"
    return error


async def test_each_attempt_is_a_span() -> None:
    """A failed one has DynamoDB's code and request id; the next one its number."""
    requests = Requests([throttled()])
    await requests.read()
    first, second = requests.recorder.named("DynamoDB.Query")
    assert first.status.status_code is StatusCode.ERROR
    assert attributes_of(first) == {
        "db.system.name": "aws.dynamodb",
        "db.operation.name": "Query",
        "dynamodb_processor.table": "events",
        "aws.dynamodb.table_names": ("e-1",),
        "aws.dynamodb.index_name": "by_day",
        "cloud.region": "eu-west-1",
        "aws.request_id": "R-1",
        "http.response.status_code": 400,
        "db.response.status_code": "ProvisionedThroughputExceededException",
        "error.type": "ProvisionedThroughputExceededException",
    }
    assert attributes_of(second)["http.request.resend_count"] == 1
    assert second.status.status_code is StatusCode.UNSET
    assert parent_of(first) == parent_of(second) == id_of(requests.recorder.one(CALL))


async def test_a_request_that_fails_for_good_has_a_span_for_each_attempt() -> None:
    """There are as many spans as attempts."""
    requests = Requests([FAILED, OSError("refused"), FAILED])
    with pytest.raises(BackendUnavailable):
        await requests.read()
    kinds = [attributes_of(span)["error.type"] for span in requests.recorder.ended[:3]]
    assert kinds == ["ServiceUnavailable", "unreachable", "ServiceUnavailable"]


async def test_requests_outside_calls_are_not_traced() -> None:
    """Descriptions of tables at intervals would be traces of their own."""
    requests = Requests([])
    await requests.backend.read(EVENTS, requests.script.play, math.inf, CALLER)
    assert not requests.recorder.ended
    assert not requests.exemplars.by_name()


async def test_the_durations_of_requests_have_exemplars() -> None:
    """They name the span of the last request in each bucket."""
    requests = Requests([])
    registry = CollectorRegistry()
    BackendMetrics(registry, requests.backend, exemplars=requests.exemplars.by_name)
    await requests.read()
    request = requests.recorder.one("DynamoDB.Query")
    found = [
        sample.exemplar.labels["span_id"]
        for family in registry.collect()
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert found == [f"{id_of(request):016x}"]
