"""Counting: the size of the requests to DynamoDB, and the end of a count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dynamodb_processor_server.dynamodb.count_builder import CountBuilder
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.reader import NO_PAGE_LIMIT, START, PageEnd, Usage
from tests.support.reads import make_read
from tests.unit.dynamodb.small_table import SCHEMA
from tests.unit.query.tables import make_table

_TWO = "device IN ('a', 'b')"


def plan_of(text: str) -> Plan:
    """Return the plan that counts the matches of a condition."""
    query = Query("readings", parse_expression(text, {}), counts=True)
    return plan_query(query, make_table(SCHEMA))


def builder_of(text: str, page_size: int = NO_PAGE_LIMIT, **limits: Any) -> CountBuilder:
    """Return a count that has not begun."""
    return CountBuilder(make_read(plan_of(text), START, page_size, **limits), now=0.0)


def limits_of(builder: CountBuilder) -> list[int | None]:
    """Return the `Limit` of each request that is needed next."""
    return [request.get("Limit") for _, request in builder.next_requests()]


async def test_dynamodb_counts_where_it_can_filter() -> None:
    """Attributes are read only for the service's own checks, and only those it checks."""
    (request,) = plan_of("device = 'd' AND level = 'low'").requests
    assert request["Select"] == "COUNT"
    assert "ProjectionExpression" not in request
    (request,) = plan_of("device = 'd' AND seq > 1 AND seq < 5 AND seq <> 3").requests
    assert "Select" not in request
    names = request["ExpressionAttributeNames"]
    assert names[request["ProjectionExpression"]] == "seq"


async def test_an_unbounded_count_takes_whole_answers() -> None:
    """Answers end at 1 MB, and every partition is requested at the same time."""
    assert limits_of(builder_of("device = 'd'")) == [None]
    assert limits_of(builder_of(_TWO)) == [None, None]


async def test_a_bounded_count_requests_one_partition_first() -> None:
    """One request may be enough; a filter makes it larger, as some items will not match."""
    assert limits_of(builder_of("device = 'd'", 10)) == [10]
    assert limits_of(builder_of(_TWO, 11)) == [11]
    assert limits_of(builder_of("device = 'd' AND level = 'low'", 10)) == [52]
    assert limits_of(builder_of("device = 'd' AND seq > 3 AND seq < 9", 10)) == [12]
    assert limits_of(builder_of("device = 'd'", 10_001)) == [None]


async def test_a_budget_below_the_partitions_requests_some_of_them() -> None:
    """The other partitions are requested in the next call."""
    assert limits_of(builder_of(_TWO, max_scanned_items=1)) == [1]
    assert limits_of(builder_of(_TWO, max_scanned_items=5)) == [2, 2]
    assert limits_of(builder_of(_TWO, 2, max_scanned_items=50)) == [2]


async def test_a_budget_is_a_limit_however_large() -> None:
    """An answer of 1 MB may hold more small items than a budget allows."""
    assert limits_of(builder_of("device = 'd'", max_scanned_items=15_000)) == [15_000]
    assert limits_of(builder_of(_TWO, max_scanned_items=50_001)) == [25_000, 25_000]
    assert limits_of(builder_of("device = 'd'", 30, max_scanned_items=50)) == [30]
    assert limits_of(builder_of("device = 'd'", max_scanned_items=2**40)) == [None]


async def test_answers_add_up_to_the_end_of_every_partition() -> None:
    """A count continues from a last evaluated key; without one the partition is at its end."""
    builder = builder_of(_TWO)
    (first, _), (second, _) = builder.next_requests()
    key = {"device": {"S": "a"}, "seq": {"N": "4"}}
    usage = Usage(items_scanned=5, read_units=0.5, backend_calls=1)
    builder.add(first, {"Count": 3, "LastEvaluatedKey": key}, usage)
    builder.add(second, {"Count": 2}, usage)
    assert builder.fill() is None
    ((branch, request),) = builder.next_requests()
    assert branch is first
    assert request["ExclusiveStartKey"] == key
    builder.add(branch, {"Count": 1}, usage)
    assert builder.fill() is PageEnd.EXHAUSTED
    page = builder.partial_page(PageEnd.EXHAUSTED)
    assert (page.content.count, page.content.next) == (6, None)
    assert page.usage == Usage(items_scanned=15, read_units=1.5, backend_calls=3)


async def test_a_count_that_is_cut_goes_on_in_every_partition() -> None:
    """Its cursor has the progress in each partition."""
    builder = builder_of(_TWO, max_read_units=1.0)
    (first, _), (second, _) = builder.next_requests()
    key = {"device": {"S": "b"}, "seq": {"N": "7"}}
    usage = Usage(items_scanned=9, read_units=0.5, backend_calls=1)
    builder.add(first, {"Count": 4}, usage)
    builder.add(second, {"Count": 5, "LastEvaluatedKey": key}, usage)
    assert builder.fill() is PageEnd.READ_UNIT_BUDGET
    page = builder.partial_page(PageEnd.READ_UNIT_BUDGET)
    assert page.content.next is not None
    rest = CountBuilder(make_read(plan_of(_TWO), page.content.next, NO_PAGE_LIMIT), now=0.0)
    ((_, request),) = rest.next_requests()
    assert request["ExpressionAttributeValues"][":p0"] == {"S": "b"}
    assert request["ExclusiveStartKey"] == key


async def test_the_service_counts_the_items_that_it_checks() -> None:
    """The answer has the attributes that the service needs."""
    builder = builder_of("device = 'd' AND seq > 1 AND seq < 4")
    ((branch, _),) = builder.next_requests()
    items = [{"seq": {"N": str(number)}} for number in (1, 2, 3, 4)]
    builder.add(branch, {"Count": 4, "Items": items}, replace(Usage(), backend_calls=1))
    assert builder.fill() is PageEnd.EXHAUSTED
    assert builder.partial_page(PageEnd.EXHAUSTED).content.count == 2
