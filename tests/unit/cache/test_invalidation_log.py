"""A replica's view of the invalidations of all: fresh, or everything local has moved."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import structlog

from dynamodb_processor_server.cache.generations import Generations, GenerationSnapshot
from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.invalidation_log import (
    FRESH_SECONDS,
    InvalidationLogFollower,
)
from dynamodb_processor_server.cache.redis.port import MOST_EVENTS, PollResult
from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.query.planning.tags import tags_of_table
from dynamodb_processor_server.runtime.guarded_store import StoreError
from tests.support.shared_tier import MemoryTier

KEY = TokenKey("one", bytes(range(32)))
A, B = tags_of_table(TableIdentity("a")), tags_of_table(TableIdentity("b"))


class _Tier(MemoryTier):
    """A tier whose polls may take time, fail or give something else.

    What has more events than `fits` comes too late. No epoch ends while it `stays`.
    """

    def __init__(self, world: World) -> None:
        super().__init__(lambda: world.now, Random(1))
        self._world = world
        self.takes = 0.0
        self.fits = MOST_EVENTS
        self.stays = False
        self.error: Exception | None = None
        self.answer: dict[str, Any] = {}

    async def poll(self, epoch: bytes, after: int, most: int) -> PollResult:
        """Answer as it was told to."""
        polled = await super().poll(epoch, after, most)
        self._world.now += self.takes
        if self.error is not None:
            raise self.error
        if len(polled.events) > self.fits:
            raise TimeoutError
        return PollResult(
            self.answer.get("epoch", polled.epoch),
            self.answer.get("sequence", polled.sequence),
            self.answer.get("events", polled.events),
        )

    async def renew(self, epoch: bytes) -> None:
        """Begin a new epoch, or fail."""
        if self.stays:
            raise StoreError("refused")
        await super().renew(epoch)


class World:
    """A view, its tier, and a clock set by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.tier = _Tier(self)
        self.sealer = PageCipher((KEY,))
        self.generations = Generations(lambda: self.now)
        self.view = InvalidationLogFollower(
            self.tier, self.sealer, self.generations, 1.0, lambda: self.now
        )

    async def invalidate(self, tags: Any, sealer: PageCipher | None = None) -> None:
        """Invalidate as another replica does."""
        sealer = sealer or self.sealer
        await self.tier.invalidate(sealer.tag_names(tags), sealer.encrypt_event(tags))

    def begin(self, tags: Any) -> GenerationSnapshot:
        """Begin a read."""
        return self.generations.begin(tags)


@pytest.fixture
async def world() -> World:
    """A view that has looked once."""
    world = World()
    assert not world.view.fresh
    await world.view.poll()
    assert world.view.fresh
    assert dict(world.view.resets) == {"started": 1}
    return world


async def test_what_others_invalidate_moves_here(world: World) -> None:
    """Those tags and no others, and once."""
    first, second = world.begin(A), world.begin(B)
    await world.invalidate(A)
    assert first.is_current
    await world.view.poll()
    assert not first.is_current
    assert second.is_current
    third = world.begin(A)
    await world.view.poll()
    assert third.is_current


async def test_freshness_counts_from_when_the_poll_was_sent(world: World) -> None:
    """What was appended while the answer was under way is not in it."""
    world.tier.takes = 0.3
    await world.view.poll()
    assert world.view.fresh
    world.now += FRESH_SECONDS - 0.3 - 0.01
    assert world.view.fresh
    world.now += 0.02
    assert not world.view.fresh


@pytest.mark.parametrize("kind", ["timeout", "unreachable", "garbage", "defect"])
async def test_a_poll_that_fails_lets_the_view_age(world: World, kind: str) -> None:
    """Nothing moves; afterwards it goes on where it stood. A defect is a failure like any."""
    reading = world.begin(A)
    world.tier.error = RuntimeError("a bug") if kind == "defect" else StoreError(kind)
    await world.view.poll()
    assert world.view.fresh, "it was, a moment ago"
    world.now += FRESH_SECONDS
    await world.view.poll()
    assert not world.view.fresh
    assert dict(world.view.failures) == {kind: 2}
    await world.invalidate(B)
    world.tier.error = None
    await world.view.poll()
    assert world.view.fresh
    assert reading.is_current


@pytest.mark.parametrize(
    ("reason", "answer"),
    [
        ("epoch", {"epoch": b"another"}),
        ("regress", {"sequence": 0}),
        ("gap", {"sequence": 4, "events": ((2, b""), (4, b""))}),
        ("gap", {"sequence": 3, "events": ((2, b""),)}),
        ("gap", {"sequence": 3, "events": ()}),
        ("gap", {"sequence": 1, "events": ((2, b""),)}),
        ("behind", {"sequence": MOST_EVENTS + 2, "events": ()}),
    ],
)
async def test_whatever_may_have_been_missed_moves_everything(
    world: World, reason: str, answer: dict[str, Any]
) -> None:
    """Now, so that quarantine holds; then the view is fresh again."""
    reading = world.begin(A)
    world.now += 100.0
    world.tier.answer = answer
    await world.view.poll()
    assert world.view.resets[reason] == 1
    assert not reading.is_current
    again = world.begin(A + B)
    assert again.is_current
    assert not again.is_past_quarantine(0.1)
    assert world.view.fresh


async def test_a_defect_is_told_with_its_traceback(world: World) -> None:
    """Once, however many polls meet it."""
    world.tier.error = RuntimeError("a bug")
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await world.view.poll()
    assert [(line["reason"], line["exc_info"]) for line in logs] == [("defect", True)]


async def test_what_comes_too_late_in_one_answer_comes_in_several(world: World) -> None:
    """The view is fresh when all has been heard, and nothing was moved that need not be."""
    world.now += FRESH_SECONDS
    moved, other = world.begin(A), world.begin(B)
    world.tier.fits = 200
    for _ in range(MOST_EVENTS):
        await world.invalidate(A)
    polls = 0
    while not world.view.fresh:
        await world.view.poll()
        polls += 1
        assert polls < 15
    assert world.view.sequence == len(world.tier.events)
    assert dict(world.view.resets) == {"started": 1}
    assert (moved.is_current, other.is_current) == (False, True)


async def test_a_flushed_tier_moves_everything(world: World) -> None:
    """It is in another epoch."""
    reading = world.begin(A)
    world.tier.flush()
    await world.view.poll()
    assert not reading.is_current
    assert world.view.epoch == world.tier.epoch


async def test_what_cannot_be_read_ends_the_epoch(world: World) -> None:
    """Nobody can tell which pages of the tier it was about, so none of them is used again."""
    earlier = world.tier.epoch
    reading = world.begin(B)
    stranger = PageCipher((TokenKey("two", bytes(32)),))
    await world.invalidate(A, stranger)
    await world.view.poll()
    assert world.tier.epoch != earlier
    assert not reading.is_current
    assert not world.view.fresh
    await world.view.poll()
    assert world.view.fresh
    assert world.view.epoch == world.tier.epoch


async def test_what_cannot_be_read_is_not_forgotten(world: World) -> None:
    """While the epoch cannot be ended, pages that are over are found in it; none is used."""
    world.tier.stays = True
    await world.invalidate(A, PageCipher((TokenKey("two", bytes(32)),)))
    for _ in range(3):
        reading = world.begin(B)
        await world.view.poll()
        assert not world.view.fresh
        assert not reading.is_current
    world.tier.stays = False
    await world.view.poll()
    assert not world.view.fresh
    await world.view.poll()
    assert world.view.fresh
    assert dict(world.view.resets) == {"started": 1, "unreadable": 4, "epoch": 1}


async def test_replicas_between_two_steps_of_a_key_rotation_hear_of_each_other(
    world: World,
) -> None:
    """Each names with its own first key, and moves the names of both."""
    other = PageCipher((TokenKey("two", bytes(32)), KEY))
    ours = PageCipher((KEY, TokenKey("two", bytes(32))))
    assert other.tag_names(A) != ours.tag_names(A)
    for one, another in ((other, ours), (ours, other)):
        assert set(one.tag_names(A)) < set(another.all_tag_names(A))
        assert one.decrypt_event(another.encrypt_event(A)) == list(A)
    reading = world.begin(A)
    await world.invalidate(A)
    await world.view.poll()
    assert not reading.is_current
