"""Every route answers through the gateway as the method does over gRPC."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.rules import load_rules
from tests.support.gateway import Gateway

_LONG: Final = {"expression": "user_id = :u", "parameters": {"u": {"s": "u-long"}}}
#: An answer's headers that name gRPC or Envoy.
_FOREIGN: Final = ("grpc-", "x-envoy-")


def test_tables_are_listed_and_described(gateway: Gateway) -> None:
    """Both routes of the catalog have JSON in proto3's form: lowerCamelCase names."""
    listed = gateway.get("/v1/tables?page_size=1").json
    assert [each["name"] for each in listed["tables"]] == ["copies"]
    rest = gateway.get(f"/v1/tables?pageToken={listed['nextPageToken']}").json
    assert [each["name"] for each in rest["tables"]] == ["events", "flights"]
    table = gateway.get("/v1/tables/events").json["table"]
    assert table["key"]["partition"] == [
        {"name": "user_id", "type": "KEY_TYPE_STRING", "template": ""}
    ]
    assert gateway.get("/v1/tables/cop%69es").json["table"]["name"] == "copies"


def test_a_query_returns_a_page_and_continues(gateway: Gateway) -> None:
    """Items have DynamoDB's type tags, and the token of a page continues it."""
    first = gateway.post("/v1/tables/events:query", {"query": _LONG, "pageSize": 3})
    assert first.status == 200
    page = first.json
    assert [item["attributes"]["seq"] for item in page["items"]] == [
        {"n": str(number)} for number in range(3)
    ]
    assert (page["end"], page["stats"]["itemsReturned"]) == ("PAGE_END_PAGE_FULL", "3")
    body = {"query": _LONG, "page_size": 2, "page_token": page["nextPageToken"]}
    following = gateway.post("/v1/tables/events:query", body).json
    assert [item["attributes"]["seq"]["n"] for item in following["items"]] == ["3", "4"]
    assert not [name for name in first.headers if name.startswith(_FOREIGN)]
    assert first.headers["cache-control"] == "no-store"


def test_a_stream_is_lines_and_its_last_one_says_so(gateway: Gateway) -> None:
    """Each message is a line, and only the last has `last`."""
    answer = gateway.post("/v1/tables/events:stream", {"query": _LONG, "pageSize": 200})
    assert answer.status == 200
    lines = answer.lines
    assert [line["last"] for line in lines] == [False] * (len(lines) - 1) + [True]
    numbers = [int(i["attributes"]["seq"]["n"]) for line in lines for i in line["items"]]
    assert numbers == list(range(500))
    assert lines[-1]["resumeToken"] == ""
    resumed = {"query": _LONG, "resumeToken": lines[0]["resumeToken"]}
    rest = gateway.post("/v1/tables/events:stream", resumed).lines
    assert rest[0]["items"][0]["attributes"]["seq"]["n"] == "200"


def test_counting_explaining_and_getting(gateway: Gateway) -> None:
    """The other reads have routes of their own."""
    counted = gateway.post("/v1/tables/events:count", {"query": _LONG}).json
    assert counted["total"] == {"value": "500", "relation": "TOTAL_RELATION_EXACT"}
    explained = gateway.post("/v1/tables/events:explain", {"query": _LONG}).json
    assert explained["path"] == "ACCESS_PATH_TABLE"
    key = {"attributes": {"user_id": {"s": "u-1"}, "seq": {"n": "7"}}}
    missing = {"attributes": {"user_id": {"s": "u-1"}, "seq": {"n": "7000"}}}
    got = gateway.post("/v1/tables/events:batchGet", {"keys": [key, missing]}).json["results"]
    assert [next(iter(result)) for result in got] == ["item", "missingKey"]
    assert got[0]["item"]["attributes"]["system_id"] == {"s": "s-0"}


def test_the_cache_is_invalidated_and_described(gateway: Gateway) -> None:
    """A partition, then the whole table, and the statistics of the cache."""
    partition = {"partitionKey": {"attributes": {"user_id": {"s": "u-1"}}}}
    scopes: list[Any] = [partition, {"wholeTable": {}}]
    for scope in scopes:
        answer = gateway.post("/v1/tables/events:invalidateCache", scope)
        assert (answer.status, answer.json) == (200, {})
    stats = gateway.get("/v1/cache").json
    assert "events" in {table["table"] for table in stats["tables"]}


def test_every_route_is_called_by_a_test() -> None:
    """A new route needs a call in this module."""
    source = Path(__file__).read_text(encoding="utf-8")
    for rule in load_rules():
        called = rule.path.replace("{query.table}", "events").replace("{table}", "events")
        assert f'"/{called.strip("/")}' in source, rule.path


@pytest.mark.parametrize("name", ["query", "pageSize", "page_size"])
def test_fields_have_both_names(gateway: Gateway, name: str) -> None:
    """The names of the contract and those in lowerCamelCase are accepted."""
    body = {"query": _LONG, name: _LONG if name == "query" else 2}
    page = gateway.post("/v1/tables/events:query", body).json
    assert len(page["items"]) == (100 if name == "query" else 2)


def test_the_table_may_stand_in_the_body_as_well(gateway: Gateway) -> None:
    """A request written for gRPC is accepted as it is, if it names the table of the path."""
    body = {"query": _LONG | {"table": "events"}, "pageSize": 1}
    assert len(gateway.post("/v1/tables/events:query", body).json["items"]) == 1
    answer = gateway.post("/v1/tables/copies:query", body)
    assert answer.refusal == (400, 3, "INVALID_REQUEST")
    assert answer.violations == {"query.table": "is events here and copies in the path"}


def test_errors_of_the_server_keep_their_details(gateway: Gateway) -> None:
    """Status, reason and violations are those of gRPC, with HTTP's usual status."""
    bad = {"query": {"expression": "user_id = ", "maxItems": 0}}
    answer = gateway.post("/v1/tables/events:query", bad)
    assert answer.refusal == (400, 3, "INVALID_REQUEST")
    assert answer.violations.keys() == {"query.expression", "query.max_items"}
    scan = gateway.post("/v1/tables/events:query", {"query": {}})
    assert scan.refusal == (400, 9, "SCAN_NOT_ALLOWED")
    assert gateway.get("/v1/tables/nothing").refusal == (404, 5, "TABLE_NOT_FOUND")
    keyless = gateway.request("GET", "/v1/tables", headers={"x-api-key": ""})
    assert keyless.refusal == (401, 16, "UNAUTHENTICATED")
    stream = gateway.post("/v1/tables/events:stream", bad)
    assert stream.refusal == (400, 3, "INVALID_REQUEST")


def test_a_request_id_comes_back(gateway: Gateway) -> None:
    """The caller's own id is the one in the answer; otherwise there is a new one."""
    assert gateway.get("/v1/tables", **{"x-request-id": "mine-1"}).headers["x-request-id"] == (
        "mine-1"
    )
    assert gateway.get("/v1/tables").headers["x-request-id"]


def test_large_values_pass(gateway: Gateway) -> None:
    """A body near 1 MiB and a table of hundreds of parameters reach the server."""
    pieces = {f"p{number}": {"s": "x" * 1_000} for number in range(500)}
    names = ", ".join(f":{name}" for name in pieces)
    query = {"expression": f"user_id = 'u-1' AND action IN ({names})", "parameters": pieces}
    text = json.dumps({"query": query})
    body = text + " " * (1_048_000 - len(text))
    answer = gateway.post("/v1/tables/events:query", body)
    assert (answer.status, answer.json["items"]) == (200, [])
