"""Builds one page from DynamoDB's answers.

DynamoDB's `Limit` counts evaluated items, a page counts returned ones: answers are added until the
page is full, the range is exhausted or a limit is reached.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from dynamodb_processor_server.query.evaluator import evaluate
from dynamodb_processor_server.query.plan import Plan
from dynamodb_processor_server.query.projection import project
from dynamodb_processor_server.query.values import WireItem
from dynamodb_processor_server.reading.encoding import encode_item
from dynamodb_processor_server.reading.port import Limits, Page, PageContent, PageEnd, Usage
from dynamodb_processor_server.reading.positions import encode_position, key_of

# Beyond this many items the 1 MB cap of a DynamoDB answer decides anyway.
_MAX_LIMIT: Final = 10_000


class PageBuilder:
    """One page in the making.

    `max_bytes` bounds the encoded items, but a page always takes one. `read_at` is when the read
    began, in seconds since the epoch. `start_key` moves on with every answer and is None at the end
    of the range, which `exhausted` tells from the start.
    """

    def __init__(
        self,
        plan: Plan,
        start_key: Mapping[str, Any] | None,
        limits: Limits,
        max_bytes: int,
        read_at: float,
    ) -> None:
        self.start_key = start_key
        self.usage = Usage()
        self._plan = plan
        self._limits = limits
        self._max_bytes = max_bytes
        self._read_at = read_at
        self._chunks: list[bytes] = []
        self._bytes = 0
        self._seen: WireItem | None = None  # the last item delivered or rejected in the service

    def request_limit(self) -> int:
        """Return the `Limit` for the next request.

        Where nearly every evaluated item is returned, just as many as are missing; else as many as
        the share of matches so far suggests (at first one half), so that a rare match is found in
        few requests and a common one wastes little.
        """
        missing = self._limits.page_size - len(self._chunks)
        wanted = missing
        if not self._plan.exact_limit:
            matches, scanned = len(self._chunks) + 1, self.usage.items_scanned + 2
            wanted = math.ceil(missing * scanned / matches)
        if self._limits.max_scanned_items is not None:
            wanted = min(wanted, self._limits.max_scanned_items - self.usage.items_scanned)
        return max(1, min(wanted, _MAX_LIMIT))

    def add(self, answer: Mapping[str, Any], usage: Usage) -> PageEnd | None:
        """Take an answer to the next request; return why the page ends, None when it goes on."""
        self.usage += usage
        for item in answer["Items"]:
            end = self._add_item(item)
            if end is not None:
                return end
        self.start_key = answer.get("LastEvaluatedKey")
        if not self.start_key:
            self.start_key = None
            return PageEnd.EXHAUSTED
        self._seen = None
        if len(self._chunks) == self._limits.page_size:
            return PageEnd.PAGE_FULL
        return self._spent_budget()

    def _add_item(self, item: WireItem) -> PageEnd | None:
        local_filter = self._plan.local_filter
        if local_filter is None or evaluate(local_filter, item):
            if len(self._chunks) == self._limits.page_size:
                return self._end_behind_last(PageEnd.PAGE_FULL)
            chunk = self._encode(item)
            if self._chunks and self._bytes + len(chunk) > self._max_bytes:
                return self._end_behind_last(PageEnd.RESPONSE_BYTES)
            self._chunks.append(chunk)
            self._bytes += len(chunk)
        self._seen = item
        return None

    def _end_behind_last(self, end: PageEnd) -> PageEnd:
        """End the page before an item that was evaluated but is withheld."""
        if self._seen is not None:
            self.start_key = key_of(self._seen, self._plan.path.position)
        return end

    def _encode(self, item: WireItem) -> bytes:
        shape = self._plan.shape
        if shape.paths:
            item = project(item, shape.paths)
        elif shape.attributes is not None:
            item = {name: value for name, value in item.items() if name in shape.attributes}
        return encode_item(item)

    def _spent_budget(self) -> PageEnd | None:
        limits, usage = self._limits, self.usage
        if limits.max_scanned_items is not None and usage.items_scanned >= limits.max_scanned_items:
            return PageEnd.SCAN_BUDGET
        if limits.max_read_units is not None and usage.read_units >= limits.max_read_units:
            return PageEnd.READ_UNIT_BUDGET
        return None

    def page(self, end: PageEnd) -> Page:
        """Return what has been gathered so far as a page that ends for a reason."""
        next_position = None if self.start_key is None else encode_position(self.start_key)
        content = PageContent(
            b"".join(self._chunks), len(self._chunks), next_position, end, self._read_at
        )
        return Page(content, self.usage)
