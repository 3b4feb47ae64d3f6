"""`ddbq`, run as its users run it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import grpc
import pytest

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from dynamodb_processor_client.command import main
from tests.unit.client.service import Cut, Failure, FakeService, numbered

_COMMAND = (sys.executable, "-m", "dynamodb_processor_client.command")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of the command ended, and what it printed."""

    status: int
    output: str
    errors: str

    @property
    def lines(self) -> list[Any]:
        """The lines of the output as JSON."""
        return [json.loads(line, parse_float=Decimal) for line in self.output.splitlines()]


Run = Callable[..., Coroutine[Any, Any, Outcome]]


@pytest.fixture
def environment(service: FakeService) -> dict[str, str]:
    """An environment that leads to the service."""
    return {
        **os.environ,
        "DDBQ_TARGET": service.address,
        "DDBQ_API_KEY": "ddbp_test",
        "TERM": "xterm",
        "COLUMNS": "100",
    }


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """A function that runs the command with its output in pipes."""

    async def run(*arguments: str) -> Outcome:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            *arguments,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        return Outcome(await process.wait(), output.decode(), errors.decode())

    return run


async def _run_on_terminal(environment: dict[str, str], *arguments: str) -> Outcome:
    """Run the command on a terminal of its own, which shows output and errors alike."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *_COMMAND, *arguments, env=environment, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = await asyncio.to_thread(_read_all, ours)
    os.close(ours)
    return Outcome(await process.wait(), shown, "")


def _read_all(terminal: int) -> str:
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 65_536)
        except OSError:  # The other side is closed.
            return shown.decode()


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
    """The command's options are the query's."""
    outcome = await run(
        *("query", "numbers", "a = :a AND b = :b AND c = :c"),
        *("-p", "a=x:=1", "-p", "b:=1.50", "-p", 'c:=["x", null, true]'),
        *("--index", "@table", "--descending", "--project", "n", "--project", "m"),
        *("--strong", "--max-items", "5", "--page-size", "2"),
    )
    assert (outcome.status, outcome.errors) == (0, "more with: --token 2:3\n")
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
    """Every item comes on its line, over a break of the stream, and nothing else is printed."""
    service.cuts.append(Cut(after=3))
    outcome = await run("stream", "numbers")
    assert outcome.status == 0
    assert [line["n"] for line in outcome.lines] == list(range(1_000))
    assert outcome.errors == ""


async def test_the_tables_when_piped(run: Run, service: FakeService) -> None:
    """Tables are listed one a line; a named one is described."""
    service.tables.tables.add(name="numbers", description="A few.")
    service.table.table.name = "numbers"
    service.table.table.key.partition.add(name="n")
    service.table.table.indexes.add(name="by_m", projects_all=True).key.partition.add(name="m")
    listing = await run("tables")
    assert listing.lines == [{"name": "numbers", "description": "A few."}]
    (described,) = (await run("tables", "numbers")).lines
    assert described["key"] == "n"
    assert described["indexes"] == [{"name": "by_m", "key": "m", "attributes": "all"}]


async def test_a_count(run: Run, service: FakeService) -> None:
    """The number alone is printed; that it may not be all is told aside."""
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
    """One line for each key, in their order; `null` where there is no item."""
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
    """One object with everything in it."""
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
    """People get a table and a tree, and are told which items there are not."""
    got = await _run_on_terminal(environment, "get", "numbers", "--key", "n:=7", "--key", "n:=5000")
    assert got.status == 0
    assert "│ 7 │" in got.output
    assert 'no item: {"n": 5000}' in got.output
    _explained(service)
    explained = await _run_on_terminal(environment, "explain", "numbers")
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
    bare = await _run_on_terminal(environment, "explain", "numbers")
    assert bare.output.replace("\r", "") == "scan\n"


async def test_on_a_terminal(environment: dict[str, str], service: FakeService) -> None:
    """People get tables, and a line of progress while they wait."""
    service.items = numbered(150)
    service.tables.tables.add(name="numbers", description="A few.")
    service.table.table.key.partition.add(name="n")
    page = await _run_on_terminal(environment, "query", "numbers", "--page-size", "2")
    assert page.status == 0
    assert "┏━━━┓" in page.output
    assert "│ 1 │" in page.output
    assert "--token 2:148" in page.output
    stream = await _run_on_terminal(environment, "stream", "numbers")
    assert stream.status == 0
    assert "│ 149 │" in stream.output
    assert "100 items" in stream.output
    assert "read units" in stream.output
    assert "A few." in (await _run_on_terminal(environment, "tables")).output
    assert "@table" in (await _run_on_terminal(environment, "tables", "numbers")).output


async def test_errors_are_one_line(run: Run, service: FakeService) -> None:
    """What the service refuses is one line that names the status and the request."""
    failure = Failure(
        grpc.StatusCode.PERMISSION_DENIED, "not\nyours", trailers=(("x-request-id", "r-1"),)
    )
    service.failures.append(failure)
    outcome = await run("query", "numbers")
    assert outcome.status == 1
    assert outcome.output == ""
    assert outcome.errors == "ddbq: PERMISSION_DENIED: not yours (request r-1)\n"


async def test_a_broken_stream_leaves_its_token(run: Run, service: FakeService) -> None:
    """What was printed stays, and the token for the rest is told."""
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
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
        *("stream", "numbers"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert await process.wait() == 130
    assert errors == b""


async def test_a_reader_that_goes_away(environment: dict[str, str], service: FakeService) -> None:
    """`| head` ends the command quietly, as it ends other commands."""
    service.items = numbered(100_000)
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
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
        (("count", "t", "--max-items", "5"), "--max-items"),
        (("tables", "--api-key", "ddbp_\n"), "API key"),
    ],
)
def test_usage_errors(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake in the arguments is told with the usage, and ends with status 2."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert words in capsys.readouterr().err
