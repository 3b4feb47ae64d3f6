"""Tests of `explain`: the plan of a query."""

from __future__ import annotations

from boto3.dynamodb.conditions import Key

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import ExplainQueryRequest, ExplainQueryResponse
from dynamodb_processor.v1.value_pb2 import AttributeValue
from dynamodb_processor_client import AccessPath, Explanation, Query, QueryClient, RejectedPath
from tests.support.fake_service import FakeService


async def test_an_explanation(client: QueryClient, service: FakeService) -> None:
    """An explanation has every field of the message."""
    service.explanation = ExplainQueryResponse(
        path=query_pb2.ACCESS_PATH_GLOBAL_INDEX,
        index="by_user",
        key_condition="user_id IN ('a', 'b')",
        filter_expression="n > 5",
        local_filter="user_id <> 'c'",
        rejected=[query_pb2.RejectedPath(index="@table", reason="no partition")],
        branches=2,
        warnings=["filter: dear"],
    )
    assert await client.explain(Query("numbers")) == Explanation(
        path=AccessPath.GLOBAL_INDEX,
        index="by_user",
        key_condition="user_id IN ('a', 'b')",
        filter_expression="n > 5",
        local_filter="user_id <> 'c'",
        branches=2,
        rejected=(RejectedPath("@table", "no partition"),),
        warnings=("filter: dear",),
    )


async def test_the_base_table_has_no_index_name(client: QueryClient, service: FakeService) -> None:
    """The index is `None` for the base table, and a path of a later service is `UNKNOWN`."""
    service.explanation.path = query_pb2.ACCESS_PATH_TABLE
    explanation = await client.explain(Query("numbers"))
    assert (explanation.path, explanation.index) == (AccessPath.TABLE, None)
    assert AccessPath(99) is AccessPath.UNKNOWN


async def test_the_whole_query_is_sent(client: QueryClient, service: FakeService) -> None:
    """Every argument of the query arrives in its field."""
    await client.explain(
        Query(
            "numbers",
            "n = :n",
            index="@table",
            descending=True,
            projection=["n"],
            consistent=True,
            n=1,
        )
    )
    await client.explain(Query("numbers", Key("n").eq(1)))
    full, bare = service.explain_requests
    assert full == ExplainQueryRequest(
        query=query_pb2.QuerySpec(
            table="numbers",
            expression="n = :n",
            parameters={"n": AttributeValue(n="1")},
            index="@table",
            order=query_pb2.ORDER_DESCENDING,
            projection=["n"],
            consistency=query_pb2.CONSISTENCY_STRONG,
        )
    )
    assert bare.query.expression == "n = :v0"
