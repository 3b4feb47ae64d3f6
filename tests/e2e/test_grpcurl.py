"""First steps of a user: grpcurl against a running server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.access import ApiKey, keys_file
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.lengths import PATIENCE
from tests.support.processes import ServerProcess, served

KEY: Final = ApiKey("curl")
QUERY_METHOD: Final = "dynamodb_processor.v1.QueryService/Query"
STREAM_METHOD: Final = "dynamodb_processor.v1.QueryService/StreamQuery"
HEALTH_METHOD: Final = "grpc.health.v1.Health/Check"
CARRIER: Final = {
    "table": "flights",
    "expression": "carrier = :c",
    "parameters": {"c": {"s": "UA"}},
}
_UNAUTHENTICATED: Final = 64 + 16  # grpcurl's exit code is 64 and the status's number

Curl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def flights_service(
    dynamodb_local: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server over a handful of flights."""
    client = open_client(dynamodb_local)
    types = {"carrier": "S", "departure": "S", "tailnum": "S", "time_hour": "S"}
    by_plane = Index("by_plane", False, ("tailnum",), ("time_hour",))
    create_table(client, Schema("curl-flights", "carrier", "departure", (by_plane,), types))
    put_items(client, "curl-flights", _flights())
    config = {
        "table": "curl-flights",
        "description": "Flights.",
        "required": ["time_hour"],  # This allows reads of ranges from the index.
    }
    with served(
        {"tables": {"flights": config}},
        keys_file(KEY),
        tmp_path_factory.mktemp("flights"),
        endpoint_url=dynamodb_local,
        env={"DYNAMODB_PROCESSOR_DRAIN_DELAY": "0"},
    ) as server:
        yield server


def _flights() -> Iterator[dict[str, Any]]:
    for carrier in ("UA", "AA"):
        for number in range(8):
            hour = f"2013-01-{number + 1:02}T05:00:00Z"
            yield {
                "carrier": {"S": carrier},
                "departure": {"S": f"{hour}#{number}#EWR"},
                "tailnum": {"S": f"N{number % 2}{carrier}"},
                "time_hour": {"S": hour},
                "distance": {"N": str(1000 + number)},
            }


@pytest.fixture
def curl(grpcurl: Path, flights_service: ServerProcess) -> Curl:
    """A function that calls a method with grpcurl: its data, and an API key instead of ours."""

    def call(
        method: str, data: dict[str, Any] | None = None, *, key: str | None = KEY.text
    ) -> subprocess.CompletedProcess[str]:
        command = [str(grpcurl), "-plaintext", "-max-time", "20"]
        command += [] if key is None else ["-H", f"x-api-key: {key}"]
        command += [] if data is None else ["-d", json.dumps(data)]
        command += [flights_service.address, *method.split()]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    return call


def _answer(result: subprocess.CompletedProcess[str]) -> Any:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def _departures(page: dict[str, Any]) -> list[str]:
    return [item["attributes"]["departure"]["s"][:10] for item in page["items"]]


def test_page_and_the_next(curl: Curl) -> None:
    """A page has three items, a token and stats; the token gives the next three items."""
    first = _answer(curl(QUERY_METHOD, {"query": CARRIER, "page_size": 3}))
    assert _departures(first) == ["2013-01-01", "2013-01-02", "2013-01-03"]
    assert first["stats"]["items_returned"] == "3"
    assert first["stats"]["backend_calls"] >= 1
    token = first["next_page_token"]
    second = _answer(curl(QUERY_METHOD, {"query": CARRIER, "page_size": 3, "page_token": token}))
    assert _departures(second) == ["2013-01-04", "2013-01-05", "2013-01-06"]


def test_stream(curl: Curl) -> None:
    """A stream prints one message after another, the final one marked as last."""
    result = curl(STREAM_METHOD, {"query": CARRIER, "page_size": 5})
    assert result.returncode == 0, result.stderr
    messages = [json.loads("{" + text) for text in result.stdout.split("\n{")[1:]]
    messages.insert(0, json.loads(result.stdout.split("\n{")[0]))
    assert [len(message.get("items", [])) for message in messages][:2] == [5, 3]
    assert messages[-1]["last"] is True


def test_index_is_chosen(curl: Curl) -> None:
    """A condition on a plane is read from the index that has it as partition key."""
    query = {"table": "flights", "expression": "tailnum = 'N1UA' AND time_hour >= '2013-01-03'"}
    page = _answer(curl(QUERY_METHOD, {"query": query}))
    assert page["stats"]["index_used"] == "by_plane"
    assert _departures(page) == ["2013-01-04", "2013-01-06", "2013-01-08"]


def test_count(curl: Curl) -> None:
    """A count is exact, up to a bound or with a page."""
    method = "dynamodb_processor.v1.QueryService/CountItems"
    exact = _answer(curl(method, {"query": CARRIER}))
    assert exact["total"] == {"value": "8", "relation": "TOTAL_RELATION_EXACT"}
    bounded = {"query": CARRIER, "total": {"mode": "TOTAL_MODE_BOUNDED", "up_to": 5}}
    assert _answer(curl(method, bounded))["total"] == {
        "value": "5",
        "relation": "TOTAL_RELATION_AT_LEAST",
    }
    page = _answer(
        curl(
            QUERY_METHOD, {"query": CARRIER, "page_size": 3, "total": {"mode": "TOTAL_MODE_EXACT"}}
        )
    )
    assert (len(page["items"]), page["total"]) == (3, exact["total"])


def test_batch_get(curl: Curl) -> None:
    """One result comes for each key, in the order of the keys."""
    keys = [
        {"attributes": {"carrier": {"s": "UA"}, "departure": {"s": departure}}}
        for departure in ("2013-01-02T05:00:00Z#1#EWR", "never", "2013-01-01T05:00:00Z#0#EWR")
    ]
    request = {"table": "flights", "keys": keys, "projection": ["distance"]}
    answer = _answer(curl("dynamodb_processor.v1.QueryService/BatchGetItems", request))
    assert answer["results"] == [
        {"item": {"attributes": {"distance": {"n": "1001"}}}},
        {"missing_key": keys[1]},
        {"item": {"attributes": {"distance": {"n": "1000"}}}},
    ]


def test_explain(curl: Curl) -> None:
    """An explanation has the path, its key condition, and the reasons against other paths."""
    expression = "tailnum = 'N1UA' AND time_hour > '2013' AND distance > 1003"
    query = {"table": "flights", "expression": expression}
    answer = _answer(curl("dynamodb_processor.v1.QueryService/ExplainQuery", {"query": query}))
    assert (answer["path"], answer["index"]) == ("ACCESS_PATH_GLOBAL_INDEX", "by_plane")
    assert answer["key_condition"] == "tailnum = 'N1UA' AND time_hour > '2013'"
    assert answer["filter_expression"] == "distance > 1003"
    assert [other["index"] for other in answer["rejected"]] == ["@table"]


def test_list_and_describe(curl: Curl) -> None:
    """Reflection returns the services, and the contract with its comments' subjects."""
    listed = curl("list", key=None)
    assert listed.returncode == 0, listed.stderr
    assert set(listed.stdout.split()) >= {
        "dynamodb_processor.v1.CatalogService",
        "dynamodb_processor.v1.QueryService",
        "grpc.health.v1.Health",
    }
    described = curl("describe dynamodb_processor.v1.QuerySpec", key=None)
    assert described.returncode == 0, described.stderr
    assert "map<string, .dynamodb_processor.v1.AttributeValue> parameters = 4;" in described.stdout


@pytest.mark.parametrize(
    "name", ["", "liveness", "readiness", "dynamodb_processor.v1.QueryService"]
)
def test_health(curl: Curl, name: str) -> None:
    """The health check answers without a key, under each of its names."""
    assert _answer(curl(HEALTH_METHOD, {"service": name}, key=None)) == {"status": "SERVING"}


@pytest.mark.parametrize("key", [None, "ddbp_" + "A" * 43, "nonsense"])
def test_wrong_key(curl: Curl, key: str | None) -> None:
    """A call without a known key is refused."""
    result = curl(QUERY_METHOD, {"query": CARRIER}, key=key)
    assert result.returncode == _UNAUTHENTICATED
    assert "Code: Unauthenticated" in result.stderr


def test_catalog(curl: Curl) -> None:
    """The catalog lists the table and tells its keys and indexes."""
    listed = _answer(curl("dynamodb_processor.v1.CatalogService/ListTables"))
    assert listed["tables"] == [{"name": "flights", "description": "Flights."}]
    method = "dynamodb_processor.v1.CatalogService/GetTable"
    table = _answer(curl(method, {"table": "flights"}))["table"]
    assert table["key"]["partition"] == [{"name": "carrier", "type": "KEY_TYPE_STRING"}]
    assert table["indexes"][0]["name"] == "by_plane"
