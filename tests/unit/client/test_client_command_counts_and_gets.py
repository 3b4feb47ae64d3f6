"""Tests of counts, gets, explanations and totals in `ddbq`."""

from __future__ import annotations

from dynamodb_processor.v1 import query_pb2
from tests.support.fake_service import FakeService
from tests.unit.client.commands import Run, run_on_terminal


async def test_totals_go_to_stderr(run: Run) -> None:
    """Standard output has only the items."""
    page = await run("query", "numbers", "--page-size", "2", "--total", "exact")
    assert page.lines == [{"n": 0}, {"n": 1}]
    assert page.errors == "total: 1000\nmore with: --token 2:998\n"
    stream = await run("stream", "numbers", "--total", "300")
    assert len(stream.lines) == 1_000
    assert stream.errors == "total: at least 300\n"


async def test_a_count(run: Run, service: FakeService) -> None:
    """Standard output has only the number; a note on stderr says if it is a lower bound."""
    outcome = await run("count", "numbers", "n > :n", "-p", "n:=5", "--index", "by_n", "--strong")
    assert (outcome.status, outcome.output, outcome.errors) == (0, "1000\n", "")
    outcome = await run("count", "numbers", "--up-to", "300")
    assert (outcome.output, outcome.errors) == ("300\n", "there may be more\n")
    full, bounded = service.count_requests
    assert full.query.expression == "n > :n"
    assert full.query.index == "by_n"
    assert full.query.consistency == query_pb2.CONSISTENCY_STRONG
    assert bounded.total.up_to == 300


async def test_gets_when_piped(run: Run, service: FakeService) -> None:
    """There is one line for each key, in their order; `null` for a key without an item."""
    outcome = await run(
        *("get", "numbers", "--key", "n:=7", "m=x y", "--key", "n:=5000", "--key", "n:=3"),
        *("--project", "n", "--strong"),
    )
    assert outcome.lines == [{"n": 7}, None, {"n": 3}]
    assert outcome.errors == ""
    (request,) = service.batch_requests
    assert request.keys[0].attributes["m"].s == "x y"
    assert list(request.projection) == ["n"]
    assert request.consistency == query_pb2.CONSISTENCY_STRONG


def _explained(service: FakeService) -> None:
    service.explanation.path = query_pb2.ACCESS_PATH_GLOBAL_INDEX
    service.explanation.index = "by_user"
    service.explanation.key_condition = "user_id IN ('a', '[red]b')"
    service.explanation.filter_expression = "n > 5"
    service.explanation.local_filter = "user_id <> 'c'"
    service.explanation.branches = 2
    service.explanation.rejected.add(index="@table", reason="it does not fix n")
    service.explanation.rejected.add(index="by_m", reason="by_user narrows as much or more")
    service.explanation.warnings.append("filter: dear")


async def test_an_explanation_when_piped(run: Run, service: FakeService) -> None:
    """An explanation is one JSON object with every field."""
    _explained(service)
    outcome = await run("explain", "numbers", "user_id = :u", "-p", "u=a", "--descending")
    assert outcome.lines == [
        {
            "path": "GLOBAL_INDEX",
            "index": "by_user",
            "key_condition": "user_id IN ('a', '[red]b')",
            "filter_expression": "n > 5",
            "local_filter": "user_id <> 'c'",
            "branches": 2,
            "rejected": [
                {"index": "@table", "reason": "it does not fix n"},
                {"index": "by_m", "reason": "by_user narrows as much or more"},
            ],
            "warnings": ["filter: dear"],
        }
    ]
    assert service.explain_requests[0].query.order == query_pb2.ORDER_DESCENDING


async def test_gets_and_explanations_on_a_terminal(
    environment: dict[str, str], service: FakeService
) -> None:
    """On a terminal there are a table and a tree, and notes on the missing items."""
    got = await run_on_terminal(environment, "get", "numbers", "--key", "n:=7", "--key", "n:=5000")
    assert got.status == 1
    assert "│ 7 │" in got.output
    assert 'no item: {"n": 5000}' in got.output
    _explained(service)
    explained = await run_on_terminal(environment, "explain", "numbers")
    assert explained.output.replace("\r", "").splitlines() == [
        "query of global index by_user",
        "├── key condition: user_id IN ('a', '[red]b')",
        "├── filtered by DynamoDB: n > 5",
        "├── filtered by the service: user_id <> 'c'",
        "├── partitions: 2",
        "├── warnings",
        "│   └── filter: dear",
        "└── not taken",
        "    ├── @table: it does not fix n",
        "    └── by_m: by_user narrows as much or more",
    ]
    service.explanation.Clear()
    service.explanation.path = query_pb2.ACCESS_PATH_SCAN
    bare = await run_on_terminal(environment, "explain", "numbers")
    assert bare.output.replace("\r", "") == "scan\n"
