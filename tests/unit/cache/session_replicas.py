"""Replicas of the model of `session_model.py`, each with a clock of its own."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final, Literal, NoReturn

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.item_cache import ItemCache
from dynamodb_processor_server.cache.item_refresh import ItemRefresh
from dynamodb_processor_server.cache.item_sharing import ItemSharing
from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.progress_publisher import ProgressPublisher
from dynamodb_processor_server.cache.redis.shared_items import SharedItemCache
from dynamodb_processor_server.cache.table_progress import TableProgress
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.change_streams.consumer import StreamConsumer
from dynamodb_processor_server.change_streams.invalidation_sink import InvalidationSink
from dynamodb_processor_server.change_streams.leader_election import LeaderElector
from dynamodb_processor_server.change_streams.port import Checkpoint, RecordBatch, StreamLocation
from dynamodb_processor_server.dynamodb.item_decoding import decode_item
from dynamodb_processor_server.dynamodb.item_encoding import exact_message
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.query.freshness_token import FreshnessTokenCipher
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.reader import Page, PageRead
from dynamodb_processor_server.rpc.page_cursors import FreshnessTokens
from dynamodb_processor_server.runtime.timing import Clock, PollSettings
from tests.support.leases import MemoryLeases, SeverableLeases
from tests.unit.cache.fragile_caches import FragileSharedCache, ItemLine
from tests.unit.cache.model import Model, Setting
from tests.unit.cache.session_items import ClockedItems, ItemService, stored_item
from tests.unit.cache.shared_model import TIMEOUT, Replica, SharedAccess
from tests.unit.change_streams.scripted_stream import ScriptedStream

#: Seconds by which two clocks differ at most, and to a write's record in the stream.
CLOCK_SKEW: Final = 0.5
STREAM_DELAY: Final = 1.0
_KEYS: Final = (TokenKey("one", bytes(range(32))),)
_POLL_SETTINGS: Final = PollSettings(interval=0.5, max_lag=6.0, delay=STREAM_DELAY)
# A consumer that continues at a time asks for earlier records, as `DynamoDBStreams` does.
_REPLAYED_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class SessionSetting(Setting):
    """The constants of one schedule with sessions.

    Attributes:
        clocks: Seconds by which the clock of each replica, and then of each session, is fast.
        replicas: The number of replicas.
        shares: Whether the replicas share a cache; without it each has only its own.
        follows_stream: Whether a replica invalidates by the table's stream.
        when_unavailable: What replicas do with their own pages while the shared cache is lost.
        coalescing_timeout: Seconds after which a follower reads for itself.
    """

    clocks: tuple[float, ...] = ()
    replicas: int = 2
    shares: bool = True
    follows_stream: bool = True
    when_unavailable: Literal["bypass", "serve_until_ttl"] = "bypass"
    coalescing_timeout: float = 2.0


class LateStream(ScriptedStream):
    """A stream in which the records of writes appear late, in the order of the writes.

    `given_again` counts the records that were read more than once.
    """

    def __init__(self, batch: int) -> None:
        super().__init__(batch=batch)
        self.down_until = 0.0
        self._loop = asyncio.get_running_loop()
        self._coming: deque[tuple[str, int, float]] = deque()
        self._appeared = 0.0
        self.fault = self._fault
        self.given_again = 0
        self._latest_given = ""
        self._shard = "a"

    def write_later(self, device: str, version: int, delay: float) -> None:
        """Add the record of a write after a delay; records of earlier writes come before it."""
        self._appeared = max(self._appeared, self._loop.time() + delay)
        # DynamoDB rounds the time of a record down to a second.
        self._coming.append((device, version, float(int(self._loop.time()))))
        self._loop.call_at(self._appeared, self._appear)

    def split_open(self) -> None:
        """Continue the open shard in another one."""
        self._shard, parent = f"{self._shard}'", self._shard
        self.split(parent, self._shard)

    def trim_open(self) -> None:
        """Lose every record that there is."""
        self.trim(self._shard)

    async def records(self, stream: StreamLocation, iterator: str) -> RecordBatch:
        """Return the next records of a shard, and count those that were read before."""
        batch = await super().records(stream, iterator)
        for record in batch.records:
            self.given_again += record.sequence <= self._latest_given
            self._latest_given = max(self._latest_given, record.sequence)
        return batch

    def index_at(self, shard_id: str, since: float) -> int:
        """Return the record to start with for a time; it is an early one, as clocks differ."""
        return super().index_at(shard_id, since - _REPLAYED_SECONDS)

    def _fault(self, operation: str, shard_id: str) -> Exception | None:
        is_down = self._loop.time() < self.down_until
        return BackendUnavailable(f"{operation} {shard_id}") if is_down else None

    def _appear(self) -> None:
        device, version, created = self._coming.popleft()
        old, new = (stored_item(device, number) for number in (version - 1, version))
        self.write(self._shard, old, new, created=created)


class ClockedBackend:
    """DynamoDB as a replica sees it whose clock is `fast` by so many seconds."""

    def __init__(self, model: Model, fast: float) -> None:
        self._model = model
        self._fast = fast

    def now(self) -> float:
        """Return the time by the replica's clock."""
        return self._model.now() + self._fast

    async def read_page(self, request: PageRead) -> Page:
        """Read a page; its times are of the replica's clock."""
        page = await self._model.read_page(request)
        content = replace(page.content, read_at=page.content.read_at + self._fast)
        return page._replace(content=content)


class SessionReplica(Replica):
    """One replica: its clock, its caches and, while it is elected, the consumer of the stream."""

    # Longer than any read that does not hang. The replicas poll all the time that one hangs.
    read_timeout = 8.0

    def __init__(
        self,
        model: Model,
        number: int,
        setting: SessionSetting,
        shared: FragileSharedCache | None,
        random: Random,
    ) -> None:
        loop = asyncio.get_running_loop()
        backend = ClockedBackend(model, setting.clocks[number])
        self.now = backend.now
        generations = Generations(loop.time, setting.most_generations)
        self.leases: SeverableLeases | None = None
        self.tokens = FreshnessTokens(
            FreshnessTokenCipher(_KEYS, random.randbytes), CLOCK_SKEW, self.now
        )
        self.progress = TableProgress(CLOCK_SKEW, self.now)
        self._random = random
        self._tasks: list[asyncio.Task[NoReturn]] = []
        access, cipher = None, PageCipher(_KEYS, clock_skew=CLOCK_SKEW)
        if shared is not None:
            store, unavailable = shared.store(number), setting.when_unavailable
            access = SharedAccess(
                store, generations, random, self.now, unavailable, self.progress, cipher
            )
            publisher = ProgressPublisher(
                self.progress, access.line, cipher, access.view, access.guard
            )
            self._run(publisher.run())
        super().__init__(
            backend,
            setting,
            generations,
            self.now,
            access,
            followed_until=lambda plan: self.progress.until(plan.table, plan.path),
            coalescing_timeout=setting.coalescing_timeout,
        )
        self._cached_items = ItemCache(
            self.store,
            generations,
            exact_message,
            decode_item,
            setting.quarantine,
            None if access is None else access.pages,
            self.now,
            lambda: 0.5,
            lambda table: self.progress.until(table, table.schema.base),
            CLOCK_SKEW,
        )
        self._sharing = None
        if shared is not None and access is not None:
            line = ItemLine(access.line, shared.items(number))
            items = SharedItemCache(line, cipher, access.pages, generations, TIMEOUT, self.now)
            self._sharing = ItemSharing(items, self._cached_items)
        self.items = ItemService(
            ClockedItems(model, setting.clocks[number], setting.quarantine.table),
            setting.plans()[0].table,
            self._cached_items,
            self._sharing,
            self.tokens,
            setting.coalescing_timeout,
        )

    def follow(self, stream: LateStream, table: Table, leases: MemoryLeases | None) -> None:
        """Consume the table's stream; with `leases`, only while this replica holds one."""
        loop = asyncio.get_running_loop()
        clock = Clock(loop.time, asyncio.sleep, self._random.random, self.now)
        refresh = ItemRefresh(self._cached_items)
        access = self.access
        sink = InvalidationSink(
            self.invalidator,
            refresh,
            self.progress,
            self._sharing,
            lambda: 0 if access is None else access.view.received,
        )

        def make_consumer(resume: Checkpoint | None) -> StreamConsumer:
            return StreamConsumer(lambda: table, stream, sink, _POLL_SETTINGS, clock, resume=resume)

        if leases is None:
            self._run(make_consumer(None).run())
            return
        self.leases = SeverableLeases(leases)
        self._run(LeaderElector("readings", self.leases, make_consumer, clock).run())

    async def close(self, answers: Counter[str]) -> None:
        """End what runs, and count what stream records have done to the items."""
        answers["items replaced"] += self.store.stats("readings").item_refreshes
        if self.access is not None:
            answers["items written"] += self.access.guard.outcomes["apply_writes", "done"]
        await self.items.close()
        for task in self._tasks:
            task.cancel()
            await asyncio.wait((task,))
            assert task.cancelled(), task.exception()
        await super().close(answers)

    def _run(self, forever: Coroutine[Any, Any, NoReturn]) -> None:
        self._tasks.append(asyncio.create_task(forever))
