"""A model of writers, readers and a lagging DynamoDB, on simulated time.

The table has a few partitions; each holds one item, whose version grows with each write. Reads see
the version of some moment while they go on, less the lag of their path. Each page has the versions
it shows and the time of its look at them, so that every answer can be judged by itself.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.cache.quarantine import Quarantine
from dynamodb_processor_server.cache.reader import CachingReader, cached_reader
from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    PreconditionFailed,
)
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.plan import Operation, Plan
from dynamodb_processor_server.query.planning.tags import (
    Tag,
    tags_of_items,
    tags_of_partitions,
    tags_of_table,
)
from dynamodb_processor_server.reader import (
    NO_BUDGET,
    START,
    Budget,
    CacheMode,
    CachePolicy,
    Page,
    PageContent,
    PageEnd,
    PageRead,
    PartialRead,
    ReadOptions,
    Usage,
)
from tests.support.datasets import Index, Schema
from tests.support.reads import CALLER
from tests.unit.dynamodb.small_table import make_plan

DEVICES: Final = ("d", "e", "f")
READ_TIMEOUT: Final = 20.0
LAGS: Final = Quarantine(table=2.0, index=10.0)
_SCHEMA: Final = Schema(
    "readings",
    "device",
    "seq",
    (
        Index("by_level", False, ("level",), ("seq",)),
        Index("by_kind", False, ("level",), ("seq",), "KEYS_ONLY"),
    ),
    {"device": "S", "seq": "N", "level": "S"},
)


@lru_cache(maxsize=100)
def _make_plans(**config: Any) -> tuple[Plan, ...]:
    """Return plans of one partition, several, an index, hydrated items and everything."""

    def plan(text: str, index: str | None = None) -> Plan:
        return make_plan(text, schema=_SCHEMA, index=index, allow_scan=True, **config)

    return (
        *(plan(f"device = '{device}'") for device in DEVICES),
        plan("device IN ('d', 'e')"),
        *(plan(f"level = '{device}'", "by_level") for device in DEVICES),
        plan("level = 'd'", "by_kind"),
        plan(""),
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """The constants of one schedule; `config` is the table's in the catalog.

    No read lags behind the writes for longer than the quarantine.
    """

    config: Mapping[str, float]
    most_generations: int
    store_bytes: int
    quarantine: Quarantine = LAGS

    def plans(self) -> tuple[Plan, ...]:
        """Return the plans."""
        return _make_plans(**self.config)


class Bound(Enum):
    """What a reader promises itself of an answer, beside what invalidations promise."""

    NONE = "none"  # the reader is in no session
    SESSION = "session"  # it shows what the session was shown, and what it wrote
    NOW = "now"  # and everything that was written until now


@dataclass(frozen=True, slots=True)
class Step:
    """An event `after` so many seconds; `act` decides which other fields apply."""

    after: float
    act: str  # write, invalidate, invalidate_table, read, or an act of a model made of this one
    which: int
    mode: CacheMode
    staleness: float | None
    takes: float  # Seconds of a read.
    looks_at: float  # The moment of a read's look, as a share of its time.
    lag: float  # The lag of a read, as a share of the longest.
    fails: bool
    leaves_after: float | None
    budgeted: bool
    replica: int = 0
    session: int = 0
    bound: Bound = Bound.NONE


#: The step of the call in whose task, or in a task of which, a read is made.
STEP: Final[ContextVar[Step]] = ContextVar("step")


@dataclass(frozen=True, slots=True)
class Claim:
    """From `since` on, no answer may be older than `moment`, nor, after the lag, lack `version`."""

    since: float
    version: int


class Call(NamedTuple):
    """A call under way: its plan, the time of its beginning, and the claims that held then."""

    plan: Plan
    began: float
    claims: Mapping[str, Sequence[Claim]]


class Model:
    """One schedule, and a judge of its readers' answers.

    `clock_skew` is how far the clocks of two replicas may differ, in seconds.
    """

    clock_skew = 0.0

    def __init__(self, setting: Setting) -> None:
        self._loop = asyncio.get_running_loop()
        self._writes: dict[str, list[tuple[float, int]]] = {d: [(-1e9, 0)] for d in DEVICES}
        self._claims: dict[str, list[Claim]] = defaultdict(list)
        self.answers: Counter[str] = Counter()
        self._make_plans = setting.plans()
        self._lags = setting.quarantine
        self._generations = Generations(self._loop.time, setting.most_generations)
        self.reader = cached_reader(
            self,
            PageStore(setting.store_bytes, self._loop.time),
            self._generations,
            read_timeout=READ_TIMEOUT,
            quarantine=setting.quarantine,
            now=self._loop.time,
            jitter=lambda: 0.5,
        )

    async def run(self, steps: Sequence[Step]) -> None:
        """Run every step, and let every reader get an answer."""
        readers: list[asyncio.Task[None]] = []
        try:
            for step in steps:
                await asyncio.sleep(step.after)
                if (call := self._call(step)) is None:
                    self._act(step)
                else:
                    readers.append(asyncio.create_task(call))
            await asyncio.gather(*readers)
        finally:
            await self.close()

    async def close(self) -> None:
        """End all reads that are still under way."""
        await self.reader.close()

    def now(self) -> float:
        """Return the time."""
        return self._loop.time()

    def _call(self, step: Step) -> Coroutine[Any, Any, None] | None:
        """Return the call of a reader that a step makes, None if it makes none."""
        return self._read(step) if step.act == "read" else None

    def _act(self, step: Step) -> None:
        device = DEVICES[step.which % len(DEVICES)]
        if step.act == "write":
            self._writes[device].append((self.now(), self._writes[device][-1][1] + 1))
        else:
            tags, claims = self._invalidation(step)
            self._generations.invalidate(tags)
            self._acknowledge(claims)

    def _invalidation(self, step: Step) -> tuple[tuple[Tag, ...], dict[str, Claim]]:
        """Return the tags of an invalidation, and the claim that holds once it is acknowledged."""
        devices: tuple[str, ...] = (DEVICES[step.which % len(DEVICES)],)
        if step.act == "invalidate_table":
            devices, tags = DEVICES, tags_of_table(TableIdentity("readings"))
        else:
            key = (Value("S", devices[0]),)
            paths = self._make_plans[0].table.schema.paths
            table, partitions = TableIdentity("readings"), [(path, key) for path in paths]
            tags = *tags_of_partitions(table, partitions), *tags_of_items(table, partitions)
        now = self.now()
        return tags, {device: Claim(now, self._writes[device][-1][1]) for device in devices}

    def _acknowledge(self, claims: Mapping[str, Claim]) -> None:
        for device, claim in claims.items():
            self._claims[device].append(claim)

    def _reader_for(self, step: Step) -> CachingReader:
        return self.reader

    async def read_page(self, request: PageRead) -> Page:
        """Read a page, whose text has the versions that it shows, and when its read began."""
        plan, deadline = request.plan, request.options.hard_deadline
        lag = 0.0 if plan.consistent else self._lags.of(plan)
        began, seen = await self.look(tuple(_devices(plan)), lag, deadline)
        items = json.dumps({"began": began, "seen": seen}).encode()
        content = PageContent(items, len(seen), None, PageEnd.EXHAUSTED, began)
        return Page(content, Usage(backend_calls=1))

    async def look(
        self, devices: Collection[str], longest_lag: float, deadline: float
    ) -> tuple[float, dict[str, int]]:
        """Read as DynamoDB would: return the versions of some moment, less a lag.

        The first value is when the read began.
        """
        step, began = STEP.get(), self.now()
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.sleep(step.takes * step.looks_at)
                moment = self.now() - step.lag * 0.999 * longest_lag
                seen = {device: self._version(device, moment) for device in devices}
                await asyncio.sleep(step.takes * (1 - step.looks_at))
        except TimeoutError:
            raise DeadlineExceeded("too late") from None
        if step.fails:
            raise BackendUnavailable("broken")
        return began, seen

    def _version(self, device: str, moment: float) -> int:
        return max(version for when, version in self._writes[device] if when <= moment)

    async def _read(self, step: Step) -> None:
        plan = self._make_plans[step.which % len(self._make_plans)]
        claims = {device: tuple(self._claims[device]) for device in DEVICES}
        call = Call(plan, self.now(), claims)
        page = await self._page(step, call, CachePolicy(step.mode, step.staleness))
        if page is not None:
            self._judge(step, call, page)

    async def _page(self, step: Step, call: Call, policy: CachePolicy) -> Page | None:
        """Return the page of a call, None where an error answers it."""
        began = self._loop.time()
        deadline = began + (1e6 if step.leaves_after is None else step.leaves_after)
        budget = Budget(max_scanned_items=100) if step.budgeted else NO_BUDGET
        options = ReadOptions(10, deadline, deadline, budget, policy)
        request = PageRead(call.plan, START, options, CALLER, progress=PartialRead())
        STEP.set(step)
        try:
            page = await self._reader_for(step).read_page(request)
        except (BackendUnavailable, DeadlineExceeded, PreconditionFailed):
            return None
        self.answers[page.status.value] += 1
        return page

    def _judge(self, step: Step, call: Call, page: Page) -> None:
        """Compare a page with what was acknowledged before its call."""
        plan, began, claims = call
        shown = json.loads(page.content.items)
        if step.staleness is not None:
            assert page.age <= step.staleness
            assert shown["began"] >= began - step.staleness - self.clock_skew, (page, began)
        for device, version in shown["seen"].items():
            for claim in claims[device]:
                assert shown["began"] >= claim.since, (device, page, claim, began)
                if claim.since + self._lag_of(step, plan) <= began:
                    assert version >= claim.version, (device, page, claim, began)

    def _lag_of(self, step: Step, plan: Plan) -> float:
        """Return for how long after an invalidation an answer may lack a write.

        Reads of cacheable pages are consistent in that time, where that is possible.
        """
        eventual = step.budgeted or step.mode is CacheMode.BYPASS or not _has_strong_reads(plan)
        return self._lags.of(plan) if eventual else 0.0


def _has_strong_reads(plan: Plan) -> bool:
    return plan.path.index is None and plan.operation is not Operation.SCAN


def _devices(plan: Plan) -> Iterator[str]:
    """Return the devices that a plan reads; each is the level of its item, too."""
    for values in plan.key.branches:
        yield from (str(value.data) for value in values) if values else DEVICES
