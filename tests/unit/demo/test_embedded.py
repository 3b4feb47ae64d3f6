"""Tests that the embedded DynamoDB answers as DynamoDB does, or says that it cannot."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.dynamodb.comparisons import OpLessThan

from dynamodb_processor_server.demo.backends import open_backend
from dynamodb_processor_server.demo.embedded import without_crashes

DISTANCE = {"distance": {"N": "2475"}, "carrier": {"S": "UA"}}


@pytest.fixture(scope="module")
def flights() -> Iterator[Any]:
    """A client of an embedded DynamoDB with one flight."""
    with open_backend("embedded", print) as backend:
        client = boto3.client(
            "dynamodb",
            endpoint_url=backend.endpoint_url,
            region_name=backend.region,
            config=Config(retries={"total_max_attempts": 1}),
        )
        client.create_table(
            TableName="flights",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "carrier", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "carrier", "KeyType": "HASH"}],
        )
        client.put_item(TableName="flights", Item=DISTANCE)
        yield client
        client.close()


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ("distance > :v", 0),
        ("distance <= :v", 0),
        ("distance = :v", 0),
        ("distance <> :v", 1),
        ("distance BETWEEN :v AND :v", 0),
        ("NOT distance > :v", 1),
        ("size(nickname) > :one", 0),
        ("size(nickname) <> :one", 1),
        ("size(carrier) > :one", 1),
    ],
)
def test_unlike_types_compare_as_in_dynamodb(
    flights: Any, condition: str, count: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """A string compared with a number matches nothing, without a failure or a traceback."""
    values = {":one": {"N": "1"}} if ":one" in condition else {":v": {"S": "2000"}}
    answer = flights.query(
        TableName="flights",
        KeyConditionExpression="carrier = :c",
        FilterExpression=condition,
        ExpressionAttributeValues={":c": {"S": "UA"}, **values},
    )
    assert answer["Count"] == count
    assert "Traceback" not in capfd.readouterr().err


def _raising(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    raise TypeError("not supported")


def _failing(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("500 Internal Server Error", [("Content-Type", "text/html")])
    return [b"<h1>Traceback</h1>"]


def _successful(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("X-A", "b")])
    return [b"{}"]


def _ask(application: Any) -> tuple[str, list[tuple[str, str]], bytes]:
    given: list[Any] = []
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "wsgi.input": None}
    content = application(environ, lambda *response: given.extend(response))
    return given[0], given[1], b"".join(content)


@pytest.mark.parametrize("application", [_raising, _failing])
def test_requests_that_crash_it_are_refused(
    application: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """One log line names a better imitation; the status is that of a bad request, not 500."""
    caplog.set_level(logging.WARNING)
    status, _, body = _ask(without_crashes(application))
    assert status.startswith("400")
    error = json.loads(body)
    assert error["__type"].endswith("#ValidationException")
    assert "BACKEND=dynamodb-local" in error["message"]
    (record,) = caplog.records
    assert record.exc_info is None
    assert "BACKEND=dynamodb-local" in record.getMessage()


def test_its_answers_are_passed_on() -> None:
    """All other answers arrive unchanged."""
    assert _ask(without_crashes(_successful)) == ("200 OK", [("X-A", "b")], b"{}")


def test_it_ends() -> None:
    """After the demo no process listens, and moto is unchanged."""
    before = OpLessThan.expr
    with open_backend("embedded", print) as backend:
        port = int(str(backend.endpoint_url).rpartition(":")[2])
        assert OpLessThan.expr is not before
    assert OpLessThan.expr is before
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)
