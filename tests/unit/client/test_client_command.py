"""Tests of `ddbq` as a process."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from dynamodb_processor_client.command import main
from tests.support.fake_service import Cut, Failure, FakeService, numbered
from tests.unit.client.commands import COMMAND, Run, run_on_terminal


async def test_a_query_when_piped(run: Run, service: FakeService) -> None:
    """A page is one JSON object a line, and the token goes to stderr."""
    service.items = [
        Item(attributes={"n": AttributeValue(n="1." + "2" * 37), "b": AttributeValue(b=b"\xff")}),
        *numbered(3),
    ]
    outcome = await run("query", "numbers", "--page-size", "2")
    assert outcome.status == 0
    assert outcome.lines == [{"b": "/w==", "n": Decimal("1." + "2" * 37)}, {"n": 0}]
    assert outcome.errors == "more with: --token 2:2\n"
    rest = await run("query", "numbers", "--token", "2:2")
    assert rest.lines == [{"n": 1}, {"n": 2}]
    assert rest.errors == ""


async def test_every_argument_is_sent(run: Run, service: FakeService) -> None:
    """The options of the command arrive in the fields of the request."""
    outcome = await run(
        *("query", "numbers", "a = :a AND b = :b AND c = :c"),
        *("-p", "a=x:=1", "-p", "b:=1.50", "-p", 'c:=["x", null, true]'),
        *("--index", "@table", "--descending", "--project", "n", "--project", "m"),
        *("--strong", "--max-items", "5", "--page-size", "2"),
    )
    errors = "more with: --token 2:3\nhint: none of these items has m\n"
    assert (outcome.status, outcome.errors) == (0, errors)
    (request,) = service.requests
    parameters = request.query.parameters
    assert parameters["a"] == AttributeValue(s="x:=1")
    assert parameters["b"] == AttributeValue(n="1.50")
    assert [member.WhichOneof("value") for member in parameters["c"].l.values] == [
        "s",
        "null",
        "bool",
    ]
    assert request.query.index == "@table"
    assert list(request.query.projection) == ["n", "m"]
    assert request.query.max_items == 5
    assert request.page_size == 2
    assert service.metadata[0]["x-api-key"] == "ddbp_test"


async def test_a_stream_when_piped(run: Run, service: FakeService) -> None:
    """Every item is one line, also after a break of the stream; nothing else is printed."""
    service.cuts.append(Cut(after=3))
    outcome = await run("stream", "numbers")
    assert outcome.status == 0
    assert [line["n"] for line in outcome.lines] == list(range(1_000))
    assert outcome.errors == ""


async def test_the_tables_when_piped(run: Run, service: FakeService) -> None:
    """Tables are listed one a line; a table given by name is described."""
    service.tables.tables.add(name="numbers", description="A few.")
    service.table.table.name = "numbers"
    service.table.table.key.partition.add(name="n")
    service.table.table.indexes.add(name="by_m", projects_all=True).key.partition.add(name="m")
    listing = await run("tables")
    assert listing.lines == [{"name": "numbers", "description": "A few."}]
    (described,) = (await run("tables", "numbers")).lines
    assert described["key"] == "n"
    assert described["indexes"] == [{"name": "by_m", "key": "m", "attributes": "all"}]


async def test_on_a_terminal(environment: dict[str, str], service: FakeService) -> None:
    """On a terminal there are tables, and a progress line during a stream."""
    service.items = numbered(150)
    service.tables.tables.add(name="numbers", description="A few.")
    service.table.table.key.partition.add(name="n")
    page = await run_on_terminal(environment, "query", "numbers", "--page-size", "2")
    assert page.status == 0
    assert "┏━━━┓" in page.output
    assert "│ 1 │" in page.output
    assert "--token 2:148" in page.output
    stream = await run_on_terminal(environment, "stream", "numbers")
    assert stream.status == 0
    assert "│ 149 │" in stream.output
    assert "100 items" in stream.output
    assert "read units" in stream.output
    assert "A few." in (await run_on_terminal(environment, "tables")).output
    assert "@table" in (await run_on_terminal(environment, "tables", "numbers")).output


async def test_errors_are_one_line(run: Run, service: FakeService) -> None:
    """A refusal of the service is one line with the status, the reason and the request ID."""
    failure = Failure(
        grpc.StatusCode.PERMISSION_DENIED,
        "not\nyours",
        details=(ErrorInfo(reason="ROLE_MISSING"),),
        trailers=(("x-request-id", "r-1"),),
    )
    service.failures.append(failure)
    outcome = await run("query", "numbers")
    assert outcome.status == 1
    assert outcome.output == ""
    assert outcome.errors == ("ddbq: PERMISSION_DENIED (ROLE_MISSING): not yours (request r-1)\n")


async def test_a_broken_stream_leaves_its_token(run: Run, service: FakeService) -> None:
    """The printed items stay, and the token for the rest is on stderr."""
    service.cuts.append(Cut(after=1, failure=Failure(grpc.StatusCode.INTERNAL, "internal error")))
    outcome = await run("stream", "numbers")
    assert outcome.status == 1
    assert len(outcome.lines) == 100
    assert outcome.errors.splitlines() == [
        "ddbq: INTERNAL: internal error",
        "go on with: --token 100:900",
    ]


async def test_an_interruption(environment: dict[str, str], service: FakeService) -> None:
    """Ctrl-C ends a stream at once, without a traceback, and with the usual status."""
    service.hang_after = 1
    # A child inherits ignored signals, and a shell ignores Ctrl-C for background processes.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *("stream", "numbers"),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert await process.wait() == 130
    assert errors == b""


async def test_a_reader_that_closes_the_pipe(
    environment: dict[str, str], service: FakeService
) -> None:
    """`| head` ends the command quietly, as it ends other commands."""
    service.items = numbered(100_000)
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("stream", "numbers"),
        env=environment,
        stdout=writing,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writing)
    await asyncio.to_thread(os.read, reading, 10)
    os.close(reading)
    _, errors = await process.communicate()
    assert await process.wait() == 141
    assert errors == b""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "COMMAND"),
        (("query",), "TABLE"),
        (("query", "t", "-p", "novalue"), "name=text or name:=json"),
        (("query", "t", "-p", "a:=nonsense"), "a: "),
        (("query", "t", "-p", "a:=NaN"), "JSON has no NaN"),
        (("query", "t", "-p", "a:=" + "1" * 39), "38 significant digits"),
        (("query", "t", "--page-size", "many"), "--page-size"),
        (("get", "t"), "--key"),
        (("get", "t", "--key", "novalue"), "name=text or name:=json"),
        (("count", "t", "--up-to", "many"), "--up-to"),
        (("query", "t", "--total", "many"), "not a number nor exact"),
        (("count", "t", "--max-items", "5"), "--max-items"),
        (("tables", "--api-key", "ddbp_\n"), "API key"),
        (("tables", "--target", "http://localhost:50051"), "without http://"),
        (("query", "t", "a", "=", "b"), "'=' 'b'; a condition is one argument, in quotes"),
        (("query", "t", "--ouput", "json"), "usage: ddbq query"),
        (("query", "t", "-p", "a=1", "-p", "a=2"), "usage: ddbq query"),
        (("query", "t", "--not-before", "2026-01-31T12:00:00"), "a time with a time zone"),
        (("stream", "t", "--not-before", "2026-02-31T12:00:00Z"), "a time with a time zone"),
        (("count", "t", "--not-before", "today"), "not now, nor a time"),
        (
            ("get", "t", "-k", "n=1", "--not-before", "0001-01-01T00:00:00+01:00"),
            "not now, nor a time",
        ),
        (("query", "t", "-p", 'a::={"S": 1}'), "1 is not a string"),
        (
            ("--profile", "x", "tables"),
            "options go after the command: ddbq COMMAND --profile ...\n",
        ),
        (("--api-key=k", "tables"), "options go after the command: ddbq COMMAND --api-key ...\n"),
    ],
)
def test_usage_errors(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error in the arguments shows the usage and ends with status 2."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert words in capsys.readouterr().err


async def test_a_bound_on_the_age_of_answers(
    run: Run, service: FakeService, tmp_path: Path
) -> None:
    """`--not-before` arrives with each command that reads by a condition, and with exports."""
    time = ("--not-before", "2026-01-31T12:00:00.5+01:00")
    file = str(tmp_path / "numbers.jsonl")
    began = datetime.now(UTC)
    for command in (
        ("query", "numbers", *time),
        ("stream", "numbers", *time),
        ("stream", "numbers", "--output", file, *time),
        ("count", "numbers", *time),
        ("get", "numbers", "--key", "n:=1", *time),
        ("query", "numbers", "--not-before", "now"),
    ):
        outcome = await run(*command)
        assert outcome.status == 0, outcome.errors
    query, now = service.requests
    requests: list[Any] = [query, *service.stream_requests, *service.count_requests]
    requests += service.batch_requests
    for request in requests:
        sent = request.cache.not_before.ToDatetime(UTC)
        assert sent == datetime(2026, 1, 31, 11, 0, 0, 500_000, UTC)
    assert began <= now.cache.not_before.ToDatetime(UTC) <= datetime.now(UTC)
    assert len(requests) == 5


@pytest.mark.parametrize("index", range(4))
async def test_a_condition_anywhere_among_options(
    run: Run, service: FakeService, index: int
) -> None:
    """The condition may be before, between and after options."""
    words = ["-p", "n:=1", "--strong"]
    split = (0, 2, 3, 3)[index]
    at = [*words[:split], "n = :n", *words[split:]]
    outcome = await run("query", "numbers", *at, "--page-size", "1")
    assert outcome.status == 0, outcome.errors
    assert service.requests[-1].query.expression == "n = :n"


async def test_arguments_beyond_the_locale(
    run: Run, service: FakeService, environment: dict[str, str]
) -> None:
    """UTF-8 arguments arrive unchanged, also in a locale without their characters."""
    environment |= {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    outcome = await run(
        "query", "numbers", "s = '\u65e5\u672c'", "-p", "t=\u00e9", "--page-size", "1"
    )
    assert outcome.status == 0, outcome.errors
    query = service.requests[-1].query
    assert query.expression == "s = '\u65e5\u672c'"
    assert query.parameters["t"].s == "\u00e9"
