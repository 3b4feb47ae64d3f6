"""A table that answers the requests of a page builder as DynamoDB would."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dynamodb_processor_server.dynamodb.page_builder import PageBuilder
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.reader import PageEnd, Usage


class AnsweringTable:
    """Items of devices, by number. `matches` stands for the filter; a read unit is two items.

    `requests` are all requests so far, with the device's name, in order.
    """

    def __init__(
        self, items: Iterable[WireItem], matches: Callable[[WireItem], bool] = lambda item: True
    ) -> None:
        self._items = sorted(items, key=_number)
        self._matches = matches
        self.requests: list[tuple[str, Mapping[str, Any]]] = []

    def answer(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], Usage]:
        """Return the answer to a query: no more than `Limit` evaluated items, and where it ends."""
        device = request["ExpressionAttributeValues"][":p0"]["S"]
        self.requests.append((device, request))
        items = [item for item in self._items if item["device"]["S"] == device]
        if not request["ScanIndexForward"]:
            items.reverse()
        start = request.get("ExclusiveStartKey")
        if start is not None:
            items = items[1 + [_number(item) for item in items].index(_number(start)) :]
        evaluated = items[: request["Limit"]]
        answer: dict[str, Any] = {"Items": [item for item in evaluated if self._matches(item)]}
        if len(evaluated) == request["Limit"]:  # As DynamoDB, without a look whether more follows.
            answer["LastEvaluatedKey"] = {name: evaluated[-1][name] for name in ("device", "seq")}
        return answer, Usage(len(evaluated), len(evaluated) / 2, 1)

    def fill(self, builder: PageBuilder) -> PageEnd:
        """Answer a builder's requests until its page ends; return the page's end reason."""
        while (end := builder.fill()) is None:
            for branch, request in builder.next_requests():
                builder.add(branch, *self.answer(request))
        return end


def _number(key: Mapping[str, Any]) -> int:
    return int(key["seq"]["N"])
