"""Tests of `Query`, the immutable query of the client."""

from __future__ import annotations

import pytest
from boto3.dynamodb.conditions import Attr, Key

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.value_pb2 import AttributeValue, ListValue
from dynamodb_processor_client import Query, QueryClient
from tests.support.fake_service import FakeService


async def test_one_query_serves_every_method(client: QueryClient, service: FakeService) -> None:
    """All five methods send the same message for the same query."""
    query = Query("numbers", "n > :n", index="@table", n=5)
    await client.query(query)
    await anext(client.pages(query))
    await anext(client.stream(query))
    await client.count(query)
    await client.explain(query)
    sent = [
        *(request.query for request in service.requests),
        *(request.query for request in service.stream_requests),
        *(request.query for request in service.count_requests),
        *(request.query for request in service.explain_requests),
    ]
    assert sent == [query.to_message()] * 5


def test_a_query_has_its_arguments_as_attributes() -> None:
    """The attributes hold the checked arguments, and defaults for the others."""
    query = Query(
        "numbers", "n > :n AND m = :index", parameters={"index": 5}, projection=["a"], n=1
    )
    assert (query.table, query.expression) == ("numbers", "n > :n AND m = :index")
    assert query.parameters == {"n": 1, "index": 5}
    assert (query.index, query.descending, query.projection) == (None, False, ("a",))
    assert (query.consistent, query.max_items) == (False, None)


def test_a_condition_of_boto3_becomes_text_and_parameters() -> None:
    """The attributes show the rendered condition."""
    query = Query("numbers", Key("user_id").eq("u-1") & Attr("n").gt(3))
    assert query.expression == "user_id = :v0 AND n > :v1"
    assert query.parameters == {"v0": "u-1", "v1": 3}


def test_equal_queries_are_equal_and_hash_alike() -> None:
    """A query can be the key of a dictionary."""
    query = Query("numbers", "n = :n", n=1)
    assert query == Query("numbers", "n = :n", parameters={"n": 1})
    assert query != Query("numbers", "n = :n", n=2)
    assert {query: "first"}[Query("numbers", "n = :n", n=1)] == "first"


def test_a_query_does_not_change() -> None:
    """Neither an assignment nor a later change of an argument or a message reaches it."""
    tags, projection = ["a"], ["n"]
    query = Query("numbers", "tags = :tags", tags=tags, projection=projection)
    tags.append("b")
    projection.append("m")
    query.to_message().table = "others"
    assert query.to_message() == query_pb2.QuerySpec(
        table="numbers",
        expression="tags = :tags",
        parameters={"tags": AttributeValue(l=ListValue(values=[AttributeValue(s="a")]))},
        projection=["n"],
    )
    with pytest.raises(AttributeError):
        query.table = "others"  # type: ignore[misc]


def test_wrong_arguments_are_refused_when_the_query_is_made() -> None:
    """The error comes from the line that makes the query, before there is a call."""
    with pytest.raises(TypeError, match="float"):
        Query("numbers", "n = :n", n=1.5)  # type: ignore[arg-type]  # as a checker would say
    with pytest.raises(ValueError, match="given twice: n"):
        Query("numbers", "n = :n", n=1, parameters={"n": 2})
    with pytest.raises(ValueError, match="brings its own parameters; n cannot be added"):
        Query("numbers", Attr("n").eq(1), n=1)
    with pytest.raises(TypeError, match="list of paths"):
        Query("numbers", projection="n")


def test_an_unknown_keyword_is_refused() -> None:
    """A misspelt option, or an option of the call, is not taken for a parameter."""
    with pytest.raises(TypeError, match="no argument desending, and its expression no :desending"):
        Query("numbers", "n = :n", desending=True, n=1)
    with pytest.raises(TypeError, match="no argument page_size"):
        Query("numbers", page_size=3)


@pytest.mark.parametrize("method", ["query", "pages", "stream", "count", "explain"])
async def test_a_method_refuses_anything_but_a_query(
    client: QueryClient, service: FakeService, method: str
) -> None:
    """The name of a table in place of a query is refused with an example of a query."""
    with pytest.raises(TypeError, match=r"query is a Query, such as Query\('flights'\), not 'n'"):
        await getattr(client, method)("n")
    assert not service.metadata
