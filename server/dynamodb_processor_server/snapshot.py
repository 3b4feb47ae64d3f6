"""The generations under which a page was read.

A tag has one generation from each invalidation of it to the next one. Pages and reads hold their
generations, so an invalidation is visible to them at once.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple


class Generation:
    """The state of one tag between two invalidations.

    `since` is the time of the earlier one, -inf if there was none. `superseded` says that the later
    one has happened.
    """

    __slots__ = ("since", "superseded")

    def __init__(self, since: float) -> None:
        self.superseded = False
        self.since = since


class GenerationSnapshot(NamedTuple):
    """The generations of a read's tags when the read began.

    `began` is that time, by the clock of the generations. `invalidated` is the time of the latest
    invalidation of any of the tags before it, -inf if there was none: then nothing needs to be
    asked about quarantine.
    """

    generations: tuple[Generation, ...]
    began: float
    invalidated: float = -inf

    @property
    def is_current(self) -> bool:
        """Whether no tag has been invalidated since the read began."""
        return not any(generation.superseded for generation in self.generations)

    def is_past_quarantine(self, seconds: float) -> bool:
        """Return whether every tag's last invalidation is that far before the read's beginning."""
        return self.began - self.invalidated >= seconds
