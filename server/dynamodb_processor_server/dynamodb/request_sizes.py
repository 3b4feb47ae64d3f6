"""The number of items for which each request of a page asks.

DynamoDB's `Limit` counts evaluated items, a page counts returned ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from dynamodb_processor_server.dynamodb.hydration import UNITS_PER_GET, HydratedItems
from dynamodb_processor_server.dynamodb.page_items import PageItems
from dynamodb_processor_server.dynamodb.partition_merge import PartitionMerge, PartitionStream
from dynamodb_processor_server.reader import PageRead

#: Beyond this many items the 1 MB cap of a DynamoDB answer decides anyway.
MAX_LIMIT: Final = 10_000
# Items that may be read of one of several partitions beyond its share of the page.
_MAX_AHEAD: Final = 200
# Items and, about, read units that may be read of a single partition beyond a stream's page.
_MAX_STREAM_AHEAD: Final = 100
_MAX_UNITS_AHEAD: Final = 8.0
# Bytes of items that a request evaluates at the least price, and the most items that it does.
_FREE_BYTES: Final = 4096
_MAX_FREE: Final = 100


def items_ahead(evaluated: int, units: float) -> int:
    """Return the number of items that are worth reading beyond a page of a single partition.

    It is the number that the call has read of it so far, `evaluated` for `units` read units. So a
    stream with small pages takes ever fewer requests. The items are kept for its next page.
    """
    affordable = _MAX_UNITS_AHEAD * evaluated / max(units, 0.5)
    return min(evaluated, _MAX_STREAM_AHEAD, int(affordable))


class RequestSizes:
    """The sizes of the requests for one page, by what was read and put on the page so far."""

    def __init__(self, request: PageRead, merge: PartitionMerge, items: PageItems) -> None:
        self._plan = request.plan
        self._options = request.options
        self._merge = merge
        self._items = items

    def limits(self, partitions: Sequence[PartitionStream], scans_left: int) -> list[int]:
        """Return the `Limit` of a request to each of several partitions, at least 1.

        While nothing matches, each request is as large as all requests since the last match: few
        items that are missing of a large page would otherwise take very many small requests.
        """
        share = max(self._share(), self._free())
        most = max(1, min(scans_left // max(1, len(partitions)), MAX_LIMIT))
        return [
            min(max(share, self._ahead(partition), partition.in_vain), most)
            for partition in partitions
        ]

    def gets(self, base: HydratedItems, units_left: float | None) -> int:
        """Return the number of items to get by key at the same time, at least 1.

        There are no more than are likely to go on the page and than `units_left` can pay for.
        """
        wanted = base.selected(self._items.missing, self._merge.delivered)
        room = self._items.likely_room(self._item_bytes)
        if room is not None:
            wanted = min(wanted, room)
        if units_left is not None:
            wanted = min(wanted, int(units_left / UNITS_PER_GET))
        return base.batch_size(max(1, wanted))

    def _share(self) -> int:
        """Return the number of items of each partition that are likely to fill the page.

        Where nearly every evaluated item is returned, as many as are missing; else as many as the
        share of matches in this call suggests (at first one half), so that a rare match takes few
        requests and a common one wastes little. Several partitions share the number, and each
        brings one more, so that the merge seldom waits for a single one.
        """
        wanted = missing = self._items.missing
        room = self._items.likely_room(None)
        if room is not None:
            wanted = missing = min(missing, room)
        if not self._plan.exact_limit:
            matches, evaluated = self._merge.matches + 1, self._merge.evaluated + 2
            wanted = math.ceil(missing * evaluated / matches)
        unread = self._merge.unread
        return max(1, wanted if unread < 2 else math.ceil(wanted / unread) + 1)

    @property
    def _item_bytes(self) -> float | None:
        """The average size of the table's items, None where that is not known.

        Under a row rule it is not used: the number of requests would reveal other items.
        """
        return self._plan.table.schema.item_bytes if self._plan.rule is None else None

    def _free(self) -> int:
        """Return the number of items that a filter can evaluate at the price of one."""
        size = self._item_bytes
        if self._plan.exact_limit or size is None:
            return 0
        return min(int(_FREE_BYTES / size), _MAX_FREE)

    def _ahead(self, partition: PartitionStream) -> int:
        """Return the number of items of a partition that are worth reading beyond the page.

        It is the number that the call has read of it so far, so one of several partitions takes
        ever fewer requests. A single partition is not read ahead where no page may follow, or where
        a budget is counted.
        """
        if len(self._plan.requests) > 1:
            return min(partition.evaluated, _MAX_AHEAD)
        options = self._options
        if not options.reads_on or options.budget.meters_reads or not partition.evaluated:
            return 0
        return items_ahead(partition.evaluated, partition.units)
