"""Tests of example calls as Python code and as command lines."""

from __future__ import annotations

import ast
import json
import shlex

from google.protobuf.json_format import Parse

from dynamodb_processor.v1.catalog_service_pb2 import DESCRIPTOR as CATALOG
from dynamodb_processor.v1.catalog_service_pb2 import ListTablesRequest
from dynamodb_processor.v1.query_service_pb2 import DESCRIPTOR as QUERY
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor_client import Query
from dynamodb_processor_server.demo.connection import Connection
from dynamodb_processor_server.demo.example_call import ExampleCall

CALL = ExampleCall(
    Query("audit_events", 'user_id = :u AND "it\'s" > :n', u="ü-'1'", n=5, descending=True),
    page_size=3,
    page_token="AQ-_",
)
CONNECTION = Connection("127.0.0.1:50051", "ddbp_secret")
QUERY_METHOD = QUERY.services_by_name["QueryService"].methods_by_name["Query"]


def test_python_code_makes_the_same_call() -> None:
    """The printed code has the same query and options as the call."""
    (statement,) = ast.parse(CALL.python()).body
    assert isinstance(statement, ast.Expr)
    call = statement.value
    assert isinstance(call, ast.Call)
    assert {keyword.arg for keyword in call.keywords} == {"page_size", "page_token"}
    (query,) = call.args
    assert eval(ast.unparse(query), {"Query": Query}) == CALL.query  # noqa: S307 - the demo's


def test_command_line_carries_the_same_request() -> None:
    """A shell takes the line apart into grpcurl's arguments, quotes and all."""
    words = shlex.split(CONNECTION.grpcurl(QUERY_METHOD, CALL.request()))
    assert words[:4] == ["grpcurl", "-plaintext", "-H", "x-api-key: ddbp_secret"]
    assert words[-2:] == ["127.0.0.1:50051", "dynamodb_processor.v1.QueryService/Query"]
    assert Parse(words[words.index("-d") + 1], QueryRequest()) == CALL.request()


def test_parameters_are_shown_in_order() -> None:
    """Maps of protobuf come in any order, which would make each run look different."""
    words = shlex.split(CONNECTION.grpcurl(QUERY_METHOD, CALL.request()))
    data = json.loads(words[words.index("-d") + 1])
    assert list(data["query"]["parameters"]) == ["n", "u"]


def test_empty_request_is_left_out_of_the_command_line() -> None:
    """A request without fields needs no `-d`."""
    method = CATALOG.services_by_name["CatalogService"].methods_by_name["ListTables"]
    assert CONNECTION.grpcurl(method, ListTablesRequest()) == (
        "grpcurl -plaintext -H 'x-api-key: ddbp_secret' 127.0.0.1:50051 "
        "dynamodb_processor.v1.CatalogService/ListTables"
    )


def test_key_is_not_part_of_a_connection_s_text() -> None:
    """A traceback with a connection in it shows no key."""
    assert "ddbp_secret" not in repr(CONNECTION)
    assert CONNECTION.with_key("other") == Connection("127.0.0.1:50051", "other")
