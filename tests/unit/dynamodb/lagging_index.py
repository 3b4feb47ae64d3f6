"""A table with an index that is behind it, as a client sees both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.dynamodb.reader import DynamoDBReader
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.reader import Cursor, Page, PageRead, ReadOptions
from tests.support.datasets import Index, Schema
from tests.support.reads import CALLER
from tests.unit.query.tables import make_table

SCHEMA: Final = Schema(
    "jobs",
    "job",
    None,
    (Index("by_state", False, ("state",), ("due",), "INCLUDE", ("kind",)),),
    {"job": "S", "state": "S", "due": "N"},
)
_HELD: Final = ("job", "state", "due", "kind")


def job(name: str, due: int, state: str = "open", kind: str = "odd", **values: Any) -> WireItem:
    """Return an item of the table."""
    return {
        "job": {"S": name},
        "state": {"S": state},
        "due": {"N": str(due)},
        "kind": {"S": kind},
        "note": {"S": f"note of {name}"},
        **values,
    }


def plan_for(
    text: str, *, projection: tuple[str, ...] = (), rule: RowRule | None = None, **fields: Any
) -> Plan:
    """Return the plan of a query that hydrates."""
    query = Query(
        "jobs", parse_expression(text, {}), projection=tuple(map(parse_path, projection)), **fields
    )
    plan = plan_query(query, make_table(SCHEMA, sparse="allow"), rule)
    assert plan.hydration is not None
    return plan


class LaggingIndex:
    """An index that still shows `shown`, of a table that already holds `items`.

    `matches` stands for the filter. A get processes no more than the first `at_once` keys (the last
    ones if `from_end`), takes `seconds` of the loop's time, and half a read unit for each key and
    each 4 KB beyond the first; a query takes half a unit. `queries` and `gets` are the requests, in
    order.
    """

    def __init__(
        self,
        shown: Iterable[WireItem],
        items: Iterable[WireItem] | None = None,
        matches: Callable[[WireItem], bool] = lambda item: True,
        *,
        at_once: int = 100,
        seconds: float = 0.0,
        from_end: bool = False,
    ) -> None:
        self._shown = [{n: item[n] for n in _HELD if n in item} for item in shown]
        self._shown.sort(key=_sort_key)
        held = shown if items is None else items
        self._items = {str(item["job"]["S"]): item for item in held}
        self._matches = matches
        self.at_once = at_once
        self.seconds = seconds
        self._from_end = from_end
        self.queries: list[dict[str, Any]] = []
        self.gets: list[list[str]] = []

    def put(self, item: WireItem, *, is_shown: bool = True) -> None:
        """Write an item; the index shows it now, or not yet."""
        self._items[str(item["job"]["S"])] = item
        if is_shown:
            self.show(str(item["job"]["S"]))

    def remove(self, name: str) -> None:
        """Remove an item, which the index still shows."""
        del self._items[name]

    def show(self, name: str) -> None:
        """Let the index catch up with an item."""
        self._shown = [item for item in self._shown if item["job"]["S"] != name]
        item = self.held(name)
        if item is not None:
            self._shown.append({n: item[n] for n in _HELD if n in item})
        self._shown.sort(key=_sort_key)

    def held(self, name: str) -> WireItem | None:
        """Return an item as the table has it."""
        return self._items.get(name)

    @property
    def shown(self) -> list[WireItem]:
        """The items as the index shows them, in order."""
        return list(self._shown)

    async def client(self, region: str | None, role_arn: str | None) -> LaggingIndex:
        """Return the client."""
        return self

    async def query(self, **request: Any) -> dict[str, Any]:
        """Return items of the index, no more than `Limit` evaluated ones."""
        self.queries.append(request)
        state = request["ExpressionAttributeValues"][":p0"]
        items = [item for item in self._shown if item["state"] == state]
        if not request["ScanIndexForward"]:
            items.reverse()
        start = request.get("ExclusiveStartKey")
        if start is not None:
            behind = [_sort_key(item) > _sort_key(start) for item in items]
            if not request["ScanIndexForward"]:
                behind = [_sort_key(item) < _sort_key(start) for item in items]
            items = [item for item, follows in zip(items, behind, strict=True) if follows]
        evaluated = items[: request["Limit"]]
        answer = {
            "Items": [item for item in evaluated if self._matches(item)],
            "ScannedCount": len(evaluated),
            "ConsumedCapacity": {"CapacityUnits": 0.5},
            "ResponseMetadata": {},
        }
        if len(evaluated) == request["Limit"]:
            answer["LastEvaluatedKey"] = {n: evaluated[-1][n] for n in ("job", "state", "due")}
        return answer

    async def batch_get_item(self, **request: Any) -> dict[str, Any]:
        """Return items of the table, last one first."""
        (asked,) = request["RequestItems"].values()
        assert 1 <= len(asked["Keys"]) <= 100
        names = [key["job"]["S"] for key in asked["Keys"]]
        assert len(set(names)) == len(names)
        self.gets.append(names)
        await asyncio.sleep(self.seconds)
        if self._from_end:
            names.reverse()
        found = [self._items[name] for name in names[: self.at_once] if name in self._items]
        left = [{"job": {"S": name}} for name in names[self.at_once :]]
        units = sum(0.5 * (1 + len(item["note"]["S"]) // 4096) for item in found)
        units += 0.5 * (len(names[: self.at_once]) - len(found))
        return {
            "Responses": {"jobs": found[::-1]},
            "UnprocessedKeys": {"jobs": {"Keys": left}} if left else {},
            "ConsumedCapacity": [{"CapacityUnits": units}],
            "ResponseMetadata": {},
        }

    def reader(self, max_page_bytes: int = 1_000_000) -> DynamoDBReader:
        """Return a Reader of the table."""
        backend = Backend(cast("Clients", self), jitter=lambda: 1.0)
        return DynamoDBReader(backend, max_page_bytes, lambda: 1_000.0)

    async def page(self, plan: Plan, at: Cursor, options: ReadOptions) -> Page:
        """Return one page, read without a cache."""
        return await self.reader().read_page(PageRead(plan, at, options, CALLER))


def _sort_key(key: Mapping[str, Any]) -> tuple[int, str]:
    return int(key["due"]["N"]), key["job"]["S"]
