"""A replica's view of the invalidations of all: fresh, or everything local has invalidated."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import structlog

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.invalidation_log import (
    FRESH_SECONDS,
    InvalidationLogFollower,
)
from dynamodb_processor_server.cache.redis.port import FIRST_PROGRESS, MAX_EVENTS, PollResult
from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.query.planning.tags import tags_of_table
from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.snapshot import GenerationSnapshot
from tests.support.shared_cache import MemorySharedCache

KEY = TokenKey("one", bytes(range(32)))
A, B = tags_of_table(TableIdentity("a")), tags_of_table(TableIdentity("b"))


class _ScriptedStore(MemorySharedCache):
    """A store whose polls may take time, fail or return something else.

    A poll with more than `fits` events times out. While `keeps_epoch`, no epoch ends.
    """

    def __init__(self, followed: FollowedLog) -> None:
        super().__init__(lambda: followed.now, Random(1))
        self._world = followed
        self.takes = 0.0
        self.fits = MAX_EVENTS
        self.keeps_epoch = False
        self.error: Exception | None = None
        self.answer: dict[str, Any] = {}

    async def poll(
        self, epoch: bytes, after: int, most: int, progress_after: bytes = FIRST_PROGRESS
    ) -> PollResult:
        """Return the scripted result."""
        polled = await super().poll(epoch, after, most, progress_after)
        self._world.now += self.takes
        if self.error is not None:
            raise self.error
        if len(polled.events) > self.fits:
            raise TimeoutError
        return PollResult(
            self.answer.get("epoch", polled.epoch),
            self.answer.get("sequence", polled.sequence),
            self.answer.get("events", polled.events),
            polled.progress,
        )

    async def renew(self, epoch: bytes) -> None:
        """Begin a new epoch, or fail."""
        if self.keeps_epoch:
            raise StoreError("refused")
        await super().renew(epoch)


class FollowedLog:
    """A follower of the invalidation log, its store, and a clock set by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.store = _ScriptedStore(self)
        self.cipher = PageCipher((KEY,))
        self.generations = Generations(lambda: self.now)
        self.log = InvalidationLogFollower(
            self.store, self.cipher, self.generations, 1.0, lambda: self.now
        )

    async def invalidate(self, tags: Any, cipher: PageCipher | None = None) -> None:
        """Invalidate as another replica does."""
        cipher = cipher or self.cipher
        await self.store.invalidate(cipher.tag_names(tags), cipher.encrypt_event(tags))

    def begin(self, tags: Any) -> GenerationSnapshot:
        """Take a snapshot of generations."""
        return self.generations.begin(tags)


@pytest.fixture
async def followed() -> FollowedLog:
    """A follower that has polled once."""
    followed = FollowedLog()
    assert not followed.log.fresh
    await followed.log.poll()
    assert followed.log.fresh
    assert dict(followed.log.resets) == {"started": 1}
    return followed


async def test_invalidations_of_other_replicas_are_applied_here(followed: FollowedLog) -> None:
    """Each affects its own tags alone, and once."""
    first, second = followed.begin(A), followed.begin(B)
    await followed.invalidate(A)
    assert first.is_current
    await followed.log.poll()
    assert not first.is_current
    assert second.is_current
    third = followed.begin(A)
    await followed.log.poll()
    assert third.is_current


async def test_freshness_counts_from_the_sending_of_the_poll(followed: FollowedLog) -> None:
    """Events that were appended after Redis answered are not in the result."""
    followed.store.takes = 0.3
    await followed.log.poll()
    assert followed.log.fresh
    followed.now += FRESH_SECONDS - 0.3 - 0.01
    assert followed.log.fresh
    followed.now += 0.02
    assert not followed.log.fresh


@pytest.mark.parametrize("kind", ["timeout", "unreachable", "garbage", "defect"])
async def test_a_failed_poll_does_not_extend_freshness(followed: FollowedLog, kind: str) -> None:
    """Nothing is invalidated, and the next poll continues. A defect counts as a failure."""
    snapshot = followed.begin(A)
    followed.store.error = RuntimeError("a bug") if kind == "defect" else StoreError(kind)
    await followed.log.poll()
    assert followed.log.fresh, "it was, a moment ago"
    followed.now += FRESH_SECONDS
    await followed.log.poll()
    assert not followed.log.fresh
    assert dict(followed.log.failures) == {kind: 2}
    await followed.invalidate(B)
    followed.store.error = None
    await followed.log.poll()
    assert followed.log.fresh
    assert snapshot.is_current


@pytest.mark.parametrize(
    ("reason", "answer"),
    [
        ("epoch", {"epoch": b"another"}),
        ("regress", {"sequence": 0}),
        ("gap", {"sequence": 4, "events": ((2, b""), (4, b""))}),
        ("gap", {"sequence": 3, "events": ((2, b""),)}),
        ("gap", {"sequence": 3, "events": ()}),
        ("gap", {"sequence": 1, "events": ((2, b""),)}),
        ("behind", {"sequence": MAX_EVENTS + 2, "events": ()}),
    ],
)
async def test_a_possible_gap_invalidates_all_generations(
    followed: FollowedLog, reason: str, answer: dict[str, Any]
) -> None:
    """They are invalidated now, so that quarantine applies; then the log is fresh again."""
    snapshot = followed.begin(A)
    followed.now += 100.0
    followed.store.answer = answer
    await followed.log.poll()
    assert followed.log.resets[reason] == 1
    assert not snapshot.is_current
    again = followed.begin(A + B)
    assert again.is_current
    assert not again.is_past_quarantine(0.1)
    assert followed.log.fresh


async def test_a_defect_is_logged_with_its_traceback(followed: FollowedLog) -> None:
    """It is logged once, however many polls fail on it."""
    followed.store.error = RuntimeError("a bug")
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await followed.log.poll()
    assert [(line["reason"], line["exc_info"]) for line in logs] == [("defect", True)]


async def test_events_that_time_out_in_one_poll_come_in_several(followed: FollowedLog) -> None:
    """The log is fresh after the last one, and no other tag is invalidated."""
    followed.now += FRESH_SECONDS
    invalidated, other = followed.begin(A), followed.begin(B)
    followed.store.fits = 200
    for _ in range(MAX_EVENTS):
        await followed.invalidate(A)
    polls = 0
    while not followed.log.fresh:
        await followed.log.poll()
        polls += 1
        assert polls < 15
    assert followed.log.sequence == len(followed.store.events)
    assert dict(followed.log.resets) == {"started": 1}
    assert (invalidated.is_current, other.is_current) == (False, True)


async def test_a_flushed_store_invalidates_all_generations(followed: FollowedLog) -> None:
    """It is in another epoch."""
    snapshot = followed.begin(A)
    followed.store.flush()
    await followed.log.poll()
    assert not snapshot.is_current
    assert followed.log.epoch == followed.store.epoch


async def test_an_undecryptable_event_ends_the_epoch(followed: FollowedLog) -> None:
    """Its tags are unknown, so no page of the shared cache is used again."""
    earlier = followed.store.epoch
    snapshot = followed.begin(B)
    stranger = PageCipher((TokenKey("two", bytes(32)),))
    await followed.invalidate(A, stranger)
    await followed.log.poll()
    assert followed.store.epoch != earlier
    assert not snapshot.is_current
    assert not followed.log.fresh
    await followed.log.poll()
    assert followed.log.fresh
    assert followed.log.epoch == followed.store.epoch


async def test_an_undecryptable_event_is_read_again(followed: FollowedLog) -> None:
    """Until the epoch ends, superseded pages may be found in it; none is used."""
    followed.store.keeps_epoch = True
    await followed.invalidate(A, PageCipher((TokenKey("two", bytes(32)),)))
    for _ in range(3):
        snapshot = followed.begin(B)
        await followed.log.poll()
        assert not followed.log.fresh
        assert not snapshot.is_current
    followed.store.keeps_epoch = False
    await followed.log.poll()
    assert not followed.log.fresh
    await followed.log.poll()
    assert followed.log.fresh
    assert dict(followed.log.resets) == {"started": 1, "unreadable": 4, "epoch": 1}


async def test_replicas_between_two_steps_of_a_key_rotation_share_invalidations(
    followed: FollowedLog,
) -> None:
    """Each makes names with its own first key, and invalidates the names of both keys."""
    other = PageCipher((TokenKey("two", bytes(32)), KEY))
    ours = PageCipher((KEY, TokenKey("two", bytes(32))))
    assert other.tag_names(A) != ours.tag_names(A)
    for one, another in ((other, ours), (ours, other)):
        assert set(one.tag_names(A)) < set(another.all_tag_names(A))
        assert one.decrypt_event(another.encrypt_event(A)) == list(A)
    snapshot = followed.begin(A)
    await followed.invalidate(A)
    await followed.log.poll()
    assert not snapshot.is_current
