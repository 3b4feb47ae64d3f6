"""Counts and gets under a row rule: results and costs do not depend on hidden items."""

from __future__ import annotations

from typing import Any, cast

import pytest

from dynamodb_processor_server.batch_reader import BatchGetRequest, BatchGetResult
from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.dynamodb.count_builder import CountBuilder
from dynamodb_processor_server.dynamodb.item_reader import DynamoDBItemReader
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.planning.plan import Plan, ResultProjection
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.reader import START, PageEnd, Usage
from tests.support.reads import CALLER, make_options, make_read
from tests.unit.dynamodb.small_table import SCHEMA, make_items
from tests.unit.query.tables import make_table

_TABLE = make_table(SCHEMA)


def rule(text: str) -> RowRule:
    """Return a rule whose hidden items reads pass over."""
    return RowRule(parse_expression(text, {}), as_filter=True)


def count_plan() -> Plan:
    """Return a plan that counts the low readings of a device."""
    query = Query("readings", parse_expression("device = 'd'", {}), counts=True)
    return plan_query(query, _TABLE, rule("level = 'low'"))


async def counted(*answers: tuple[int, bool], up_to: int) -> tuple[PageEnd | None, int, bool]:
    """Return the end reason of a count, its number, and whether it can go on.

    Answers are how many items are counted and whether there is more to read.
    """
    builder = CountBuilder(make_read(count_plan(), START, up_to), now=0.0)
    end = None
    for count, more in answers:
        assert end is None
        ((branch, request),) = builder.next_requests()
        assert request["Limit"] >= 1
        key = {"LastEvaluatedKey": {"device": {"S": "d"}, "seq": {"N": "1"}}} if more else {}
        builder.add(branch, {"Count": count, **key}, Usage(9, 1.0, 1))
        end = builder.fill()
    if end is None:
        return None, 0, False
    content = builder.partial_page(end).content
    return end, content.count, content.next is not None


async def test_a_count_reaches_its_bound_with_one_item_more() -> None:
    """A count at its bound is undecided: the items that follow may be hidden."""
    assert await counted((5, True), up_to=5) == (None, 0, False)
    assert await counted((5, True), (0, True), (0, False), up_to=5) == (PageEnd.EXHAUSTED, 5, False)
    assert await counted((5, True), (0, True), (1, True), up_to=5) == (PageEnd.PAGE_FULL, 6, True)


class Client:
    """A DynamoDB that has some items; `asked` has the keys of each request."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self._items = items
        self.asked: list[list[str]] = []

    async def client(self, region: str | None, role_arn: str | None) -> Client:
        """Return itself."""
        return self

    async def batch_get_item(self, RequestItems: Any, **_: Any) -> dict[str, Any]:  # noqa: N803 - AWS's name
        """Return the requested items that it has."""
        keys = RequestItems["readings"]["Keys"]
        self.asked.append([key["seq"]["N"] for key in keys])
        items = [i for i in self._items if {"device": i["device"], "seq": i["seq"]} in keys]
        return {"Responses": {"readings": items}, "ResponseMetadata": {}}


async def found(client: Client, text: str, count: int) -> BatchGetResult:
    """Return the result of looking up the first so many keys under a rule."""
    keys = tuple({"device": {"S": "d"}, "seq": {"N": str(number)}} for number in range(count))
    lookup = BatchGetRequest(
        _TABLE, keys, {}, ResultProjection(), consistent=False, rule=rule(text)
    )
    backend = Backend(cast("Clients", client))
    return await DynamoDBItemReader(backend).get_items(lookup, make_options(1), CALLER)


async def test_a_hidden_item_is_found_to_be_missing() -> None:
    """A hidden item is reported exactly as a missing one."""
    client = Client(make_items(4))
    answer = await found(client, "level = 'low'", 6)
    assert [answer.items[index] is not None for index in range(6)] == [
        False, True, True, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "asked"), [("seq < 2", [["0", "1"]]), ("seq < 0", []), ("device = 'x'", [])]
)
async def test_keys_that_a_rule_hides_are_not_requested(text: str, asked: list[list[str]]) -> None:
    """The cost of such keys would reveal whether there are items."""
    client = Client(make_items(4))
    answer = await found(client, text, 4)
    assert client.asked == asked
    assert sum(item is not None for item in answer.items.values()) == len(asked and asked[0])
    assert len(answer.items) == 4
