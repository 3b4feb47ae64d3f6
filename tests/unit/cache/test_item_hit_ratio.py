"""The share of skewed gets that the item cache answers, while writes refresh its items."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from random import Random
from typing import Final

from dynamodb_processor_server.cache.item_refresh import ItemChange
from tests.support.lengths import at_length
from tests.support.warped_time import warped
from tests.unit.cache.cached_items import ItemTable, values
from tests.unit.dynamodb.small_table import make_items

_SKEW: Final = 0.99
_KEYS: Final = at_length(2_000, 100_000)
_CALLS: Final = at_length(2_000, 80_000)
_BATCH: Final = 10
_WRITES: Final = 0.05
_LAG: Final = 0.5  # seconds until the record of a write is received
_PAUSE: Final = at_length(0.05, 0.003)  # seconds between calls, so that none of the items expires
_BYTES: Final = 2**28


@warped
async def test_skewed_gets_hit_while_writes_refresh(
    report: Callable[[str, str, str], None],
) -> None:
    """At least 85 % of gets hit, those of the empty cache at the beginning included.

    No get is older than a write that the stream has shown.
    """
    random = Random(18)
    table = ItemTable(max_bytes=_BYTES)
    table.items = dict(enumerate(make_items(_KEYS)))
    weights = list(accumulate(1 / rank**_SKEW for rank in range(1, _KEYS + 1)))
    stats = table.store.stats(table.table.name)
    pending: list[tuple[float, int, int]] = []  # time, item, value
    received: dict[int, int] = {}
    halves = []
    sequence = 0
    for call in range(_CALLS):
        table.now += _PAUSE
        while pending and pending[0][0] + _LAG <= table.now:
            created, number, value = pending.pop(0)
            sequence += 1
            image = {**table.items[number], "value": {"N": str(value)}}
            key = {name: image[name] for name in ("device", "seq")}
            table.refresh(ItemChange(key, image, sequence, float(int(created))))
            received[number] = value
        ranks = random.choices(range(_KEYS), cum_weights=weights, k=_BATCH)
        for number in (rank for rank in ranks if random.random() < _WRITES):
            table.write(number, _KEYS * 100 + call)
            pending.append((table.now, number, _KEYS * 100 + call))
        numbers = list(dict.fromkeys(ranks))
        found = values(await table.get(*numbers))
        for index, number in enumerate(numbers):
            assert (found[index] or 0) >= received.get(number, 0)
        if call + 1 in (_CALLS // 2, _CALLS):
            halves.append((stats.item_hits, stats.item_hits + stats.item_misses))
    (first_hits, first), (all_hits, whole) = halves
    hits = (all_hits - first_hits) / (whole - first)
    report(
        f"Zipf, s = {_SKEW}, {_KEYS:,} items, {whole:,} gets in memory",
        "hit ratio ≥ 85 % from an empty cache on, with 5 % writes",
        f"hit ratio {all_hits / whole:.1%}, in the second half {hits:.1%}, "
        f"{stats.item_refreshes:,} of {sequence:,} writes refreshed their item",
    )
    assert all_hits / whole >= 0.85
    assert stats.item_refreshes > 0
