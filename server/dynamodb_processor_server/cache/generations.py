"""Generations, which make cached pages unusable when a table was written to.

A page has tags (`query.planning.tags`). A tag has one generation from each invalidation of it to
the next one, and a page keeps the generations under which it was read. An invalidation marks the
generation of each tag as superseded. A page's own generations show that, so a hit needs no look-up.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Final

_MOST_GENERATIONS: Final = 200_000


class Generation:
    """One tag between two moves. `since` is when the earlier one was, -inf if there was none."""

    __slots__ = ("since", "superseded")

    def __init__(self, since: float) -> None:
        self.superseded = False
        self.since = since


@dataclass(frozen=True, slots=True)
class GenerationSnapshot:
    """What a read was begun under, and when, by the clock of the generations."""

    generations: tuple[Generation, ...]
    began: float

    @property
    def is_current(self) -> bool:
        """Whether no tag has moved since the read began."""
        return not any(generation.superseded for generation in self.generations)

    def is_past_quarantine(self, delay: float) -> bool:
        """Return whether every tag's last move lay `delay` seconds back when the read began."""
        return all(self.began - generation.since >= delay for generation in self.generations)


class Generations:
    """The generations of the tags that this process knows, the latest `most` of them.

    A generation that is given up counts as moved, so its loss costs no more than misses. Of tags
    that nobody has asked for, no more is known than when they moved, of the latest `most` of those
    as well: what is written and not read costs nothing of what is read. `clock` gives seconds and
    never goes back.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, most: int = _MOST_GENERATIONS
    ) -> None:
        self._clock = clock
        self._most = most
        self._known: OrderedDict[Hashable, Generation] = OrderedDict()
        self._moves: OrderedDict[Hashable, float] = OrderedDict()  # of tags that are not known
        # Of the moves that were given up, the latest: any unknown tag may be one of those.
        self._latest_lost = -inf

    def __len__(self) -> int:
        return len(self._known)

    def begin(self, tags: Iterable[Hashable]) -> GenerationSnapshot:
        """Return what a read that begins now is begun under."""
        generations = tuple([self._current(tag) for tag in tags])
        return GenerationSnapshot(generations, self._clock())

    def invalidate(self, tags: Iterable[Hashable]) -> None:
        """End the generations of `tags`: nothing read before now is to be served from now on."""
        now = self._clock()
        for tag in tags:
            over = self._known.pop(tag, None)
            if over is not None:
                over.superseded = True
            self._note(tag, now)

    def invalidate_all(self) -> None:
        """End every generation, also those of tags that are not known yet."""
        for generation in self._known.values():
            generation.superseded = True
        self._known.clear()
        self._moves.clear()
        self._latest_lost = self._clock()

    def _current(self, tag: Hashable) -> Generation:
        generation = self._known.get(tag)
        if generation is not None:
            self._known.move_to_end(tag)
            return generation
        generation = self._known[tag] = Generation(self._moves.pop(tag, self._latest_lost))
        if len(self._known) > self._most:
            given_up, lost = self._known.popitem(last=False)
            lost.superseded = True
            if lost.since > self._latest_lost:
                self._note(given_up, lost.since)
        return generation

    def _note(self, tag: Hashable, moved: float) -> None:
        """Remember when a tag moved that is not known any more."""
        self._moves[tag] = moved
        self._moves.move_to_end(tag)
        if len(self._moves) > self._most:
            _, lost = self._moves.popitem(last=False)
            self._latest_lost = max(self._latest_lost, lost)
