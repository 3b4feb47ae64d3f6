"""Tests of the output forms of `ddbq`."""

from __future__ import annotations

import json

from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.support.fake_service import FakeService, numbered
from tests.unit.client.commands import Run, run_on_terminal


def _wide(columns: int) -> Item:
    return Item(
        attributes={
            f"attribute_{n:02}": AttributeValue(s=f"a value that is long {n}")
            for n in range(columns)
        }
    )


async def test_columns_that_do_not_fit_become_lines(
    environment: dict[str, str], service: FakeService
) -> None:
    """On 80 columns a table of 15 attributes has one attribute a line, whole and readable."""
    environment["COLUMNS"] = "80"
    service.items = [_wide(15), _wide(15)]
    shown = (await run_on_terminal(environment, "query", "numbers")).output.replace("\r", "")
    lines = shown.splitlines()
    assert lines[0] == "--- 1 ---"
    assert lines[1] == "attribute_00  a value that is long 0"
    assert lines[15] == "attribute_14  a value that is long 14"
    assert lines[16] == "--- 2 ---"
    assert len(lines) == 32
    assert "┃" not in shown


async def test_columns_that_fit_stay_a_table(
    environment: dict[str, str], service: FakeService
) -> None:
    """A few columns with long values are a table with folded cells, also on later pages."""
    environment["COLUMNS"] = "80"
    service.items = [_wide(3)] * 3
    shown = (await run_on_terminal(environment, "stream", "numbers", "--page-size", "2")).output
    assert shown.count("attribute_00") == 2  # a heading for each page
    assert "--- 1 ---" not in shown
    forced = await run_on_terminal(environment, "query", "numbers", "--output", "vertical")
    assert "--- 3 ---" in forced.output


async def test_every_form_can_be_selected(run: Run, service: FakeService) -> None:
    """The default of a terminal is possible in a pipe, and the other way round."""
    service.items = numbered(3)
    lines = await run("query", "numbers", "--output", "jsonl")
    assert lines.lines == [{"n": 0}, {"n": 1}, {"n": 2}]
    document = await run("stream", "numbers", "--output", "json", "--page-size", "2")
    assert json.loads(document.output) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert (await run("query", "numbers", "--output", "table")).output.count("│") == 6
    assert "--- 2 ---" in (await run("query", "numbers", "--output", "vertical")).output
    service.items = []
    assert json.loads((await run("query", "numbers", "--output", "json")).output) == []
    assert (await run("query", "numbers", "--output", "xml")).status == 2


async def test_json_on_a_terminal_cannot_control_it(
    environment: dict[str, str], service: FakeService
) -> None:
    """JSON on a terminal escapes control characters, and is still JSON."""
    text = "\x7f\x9b31m\u202eü\u2603"
    service.items = [Item(attributes={"a": AttributeValue(s=text)})]
    shown = (await run_on_terminal(environment, "query", "numbers", "--output", "jsonl")).output
    assert shown.strip().isprintable()
    assert "ü\u2603" in shown
    assert json.loads(shown) == {"a": text}


async def test_costs_are_shown_on_request(run: Run, service: FakeService) -> None:
    """`-v` shows index, items read, units, requests and cache beside the results."""
    page = await run("query", "numbers", "--page-size", "2", "-v")
    assert len(page.lines) == 2
    assert page.errors.splitlines()[-1] == (
        "index @table, 2 items of 2 read, read units 1, requests 1, DynamoDB 5.0 ms, cache MISS"
    )
    stream = await run("stream", "numbers", "-v")
    assert "1,000 items of 1,000 read, read units 500, requests 10" in stream.errors
    assert "requests 1" in (await run("count", "numbers", "-v")).errors
    assert "read units" in (await run("get", "numbers", "--key", "n:=1", "-v")).errors


async def test_the_version_and_the_limit(run: Run, service: FakeService) -> None:
    """`--version` and `--limit` work as in other commands."""
    version = await run("--version")
    assert (version.status, version.output[:5]) == (0, "ddbq ")
    assert len((await run("query", "numbers", "--limit", "3")).lines) == 3
    assert service.requests[0].query.max_items == 3
    assert "exit codes:" in (await run("--help")).output


async def test_invalid_numbers_are_usage_errors(run: Run, service: FakeService) -> None:
    """Numbers out of range are refused, and nothing is sent."""
    for arguments in (
        ("query", "numbers", "--page-size", "99999999999"),
        ("query", "numbers", "--page-size=-1"),
        ("query", "numbers", "--max-items", "0"),
        ("query", "numbers", "--max-items", "9" * 5_000),
        ("query", "numbers", "--total", "٣"),
        ("query", "numbers", "--timeout", "nan"),
        ("query", "numbers", "--timeout", "0"),
        ("query", "numbers", "--timeout", "inf"),
    ):
        outcome = await run(*arguments)
        assert outcome.status == 2
        assert "Traceback" not in outcome.errors
    assert not service.metadata
