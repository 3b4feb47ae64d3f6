"""Generations, which make cached pages unusable when a table was written to.

A page has tags (`query.planning.tags`). A tag has one generation from each invalidation of it to
the next one, and a page keeps the generations under which it was read. An invalidation marks the
generation of each tag as superseded. A page's own generations show that, so a hit needs no look-up.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from math import inf
from typing import Final

from dynamodb_processor_server.snapshot import Generation, GenerationSnapshot

# Of tags that reads have used: two for each single item, if each has a partition of its own.
_MOST_GENERATIONS: Final = 400_000
_MOST_INVALIDATED: Final = 200_000  # other tags


class Generations:
    """The generations of the tags that this process knows, the latest `most` of them.

    A generation that is dropped counts as superseded, so its loss causes no more than misses. Of a
    tag that nobody has read, only the time of its invalidation is kept, for 200,000 of those at
    most: writes to data that nobody reads cost nothing of the data that is read. `clock` gives
    seconds and never goes back.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, most: int = _MOST_GENERATIONS
    ) -> None:
        self._clock = clock
        self._most = most
        self._most_invalidated = min(most, _MOST_INVALIDATED)
        self._known: OrderedDict[Hashable, Generation] = OrderedDict()
        self._invalidated: OrderedDict[Hashable, float] = OrderedDict()  # of tags not in `_known`
        # The latest invalidation that was dropped: it may be of any unknown tag.
        self._latest_dropped = -inf

    def begin(self, tags: Iterable[Hashable]) -> GenerationSnapshot:
        """Return the snapshot of a read that begins now."""
        generations = tuple([self._current(tag) for tag in tags])
        invalidated = max([generation.since for generation in generations], default=-inf)
        return GenerationSnapshot(generations, self._clock(), invalidated)

    def invalidate(self, tags: Iterable[Hashable]) -> None:
        """End the generations of `tags`: nothing read before now is to be served from now on."""
        now = self._clock()
        for tag in tags:
            ended = self._known.pop(tag, None)
            if ended is not None:
                ended.superseded = True
            self._note(tag, now)

    def invalidate_all(self) -> None:
        """End every generation, also those of tags that are not known yet."""
        for generation in self._known.values():
            generation.superseded = True
        self._known.clear()
        self._invalidated.clear()
        self._latest_dropped = self._clock()

    def _current(self, tag: Hashable) -> Generation:
        generation = self._known.get(tag)
        if generation is not None:
            self._known.move_to_end(tag)
            return generation
        since = self._invalidated.pop(tag, self._latest_dropped)
        generation = self._known[tag] = Generation(since)
        if len(self._known) > self._most:
            dropped_tag, dropped = self._known.popitem(last=False)
            dropped.superseded = True
            if dropped.since > self._latest_dropped:
                self._note(dropped_tag, dropped.since)
        return generation

    def _note(self, tag: Hashable, invalidated: float) -> None:
        """Keep the time of the invalidation of a tag that is not known any more."""
        self._invalidated[tag] = invalidated
        self._invalidated.move_to_end(tag)
        if len(self._invalidated) > self._most_invalidated:
            _, dropped = self._invalidated.popitem(last=False)
            self._latest_dropped = max(self._latest_dropped, dropped)
