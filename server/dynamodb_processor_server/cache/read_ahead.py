"""Whether items that a call has read beyond its last page may be part of its next one."""

from __future__ import annotations

from math import inf
from typing import Final

from dynamodb_processor_server.cache.redis.invalidation_log import FRESH_SECONDS
from dynamodb_processor_server.reader import PageRead
from dynamodb_processor_server.snapshot import GenerationSnapshot

_MAX_AGE: Final = 10.0  # seconds for which items read ahead count as fresh


def can_reuse(
    request: PageRead,
    earlier: GenerationSnapshot,
    snapshot: GenerationSnapshot,
    quarantine: float,
    up_to_date: bool,
) -> bool:
    """Return whether items read under an earlier snapshot may be part of a page now.

    They are from the same call, and so they show the writes that its bound on freshness asks for,
    and were not read eventually if this page is read consistently: an eventual read is enough for
    every later page of the call as well.

    Args:
        request: The page to read, with the plan of its read.
        earlier: The snapshot of the earlier read.
        snapshot: The snapshot of this one.
        quarantine: The quarantine of the plan, in seconds.
        up_to_date: Whether no invalidation of another replica can have been missed here.
    """
    staleness = request.options.cache.max_staleness
    max_age = min(
        _MAX_AGE if up_to_date else FRESH_SECONDS,
        request.plan.table.config.cache_ttl,
        inf if staleness is None else staleness,
    )
    return (
        earlier.generations == snapshot.generations
        and snapshot.began - earlier.began < max_age
        # A read that began in quarantine is consistent to its end.
        and earlier.is_past_quarantine(quarantine) == snapshot.is_past_quarantine(quarantine)
    )
