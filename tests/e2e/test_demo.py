"""The demo as a newcomer runs it."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.backends import find_tool
from tests.support.lengths import PATIENCE
from tests.support.processes import ServerProcess, clean_environment, start_command

# Seconds after which the demo counts as hung; pytest ends a test a little later.
WITHIN = 1_000.0
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
REFUSED = {10: "FailedPrecondition", 11: "Unauthenticated"}


def run_once(*arguments: str, **env: str) -> tuple[int, str]:
    """Run the demo to its end; return the exit code and what it printed."""
    process = start_command(["demo", "--once", "--listen", "127.0.0.1:0", *arguments], env=env)
    return process.wait(timeout=WITHIN), process.output


@pytest.fixture(scope="module")
def demo() -> Iterator[ServerProcess]:
    """A demo that serves, its walk done; it is stopped as an operator does it."""
    process = start_command(["demo", "--listen", "127.0.0.1:0"])
    try:
        deadline = time.monotonic() + WITHIN
        while "Ctrl-C ends it." not in process.output:
            assert process.returncode is None, process.output
            assert time.monotonic() < deadline, process.output
            time.sleep(0.1)
        yield process
    finally:
        process.stop()


@pytest.mark.parametrize("backend", ["embedded", "dynamodb-local"])
def test_walk_shows_every_step_and_ends(backend: str, show_line: Callable[[str], None]) -> None:
    """On either DynamoDB all steps show what they promise, and the exit code says so."""
    started = time.monotonic()
    code, output = run_once("--backend", backend)
    show_line(f"demo on {backend}: {time.monotonic() - started:.1f} s")
    assert code == 0, output
    assert "all 11 steps showed what they promise" in output
    assert "cache HIT" in output
    assert "FAILED_PRECONDITION: this needs a scan" in output
    assert "UNAUTHENTICATED" in output
    assert "Ctrl-C" not in output


def test_tables_in_aws_are_announced_and_said_to_stay(dynamodb_local: str) -> None:
    """DynamoDB is where AWS's tools look for it, and somebody learns what it costs."""
    code, output = run_once("--backend", "aws", AWS_ENDPOINT_URL_DYNAMODB=dynamodb_local)
    assert code == 0, output
    assert "costs money" in output
    stays = "delete-table --region eu-west-1 --table-name dynamodb-processor-demo-flights"
    assert f"aws dynamodb {stays}" in output


def test_printed_grpcurl_lines_do_what_the_walk_showed(demo: ServerProcess, grpcurl: Path) -> None:
    """Each line, pasted into another terminal, is answered as it was in its step."""
    step = 0
    lines = 0
    for line in demo.output.splitlines():
        head, _, _ = line.partition(". ")
        step = int(head) if head.isdecimal() else step
        if line.startswith("Serving on"):
            break
        if line.startswith("grpcurl "):
            lines += 1
            done = run_line(line, grpcurl)
            if step in REFUSED:
                assert done.returncode != 0
                assert f"Code: {REFUSED[step]}" in done.stderr
            else:
                assert done.returncode == 0, done.stderr
                assert '"items"' in done.stdout
    assert lines == 12


def test_printed_directions_work(demo: ServerProcess, grpcurl: Path) -> None:
    """Reflection, health, the tables and three flights of United, as the last lines say."""
    _, _, directions = demo.output.partition("Serving on")
    lines = [line for line in directions.splitlines() if line.startswith("grpcurl ")]
    listed, described, health, tables, united = (run_line(line, grpcurl).stdout for line in lines)
    assert "dynamodb_processor.v1.QueryService" in listed.split()
    assert "rpc StreamQuery" in described
    assert json.loads(health) == {"status": "SERVING"}
    names = [table["name"] for table in json.loads(tables)["tables"]]
    assert names == ["activity", "audit_events", "flights"]
    page = json.loads(united)
    assert [item["attributes"]["carrier"]["s"] for item in page["items"]] == ["UA"] * 3
    assert page["next_page_token"]
    assert page["stats"]["items_returned"] == "3"


def test_printed_ddbq_lines_work(demo: ServerProcess) -> None:
    """The client's command takes the address and the key from the environment."""
    _, _, directions = demo.output.partition("Serving on")
    lines = directions.splitlines()
    (exports,) = (line for line in lines if line.startswith("export "))
    env = dict(word.split("=", 1) for word in shlex.split(exports)[1:])
    commands = [line for line in lines if shlex.split(line)[:1] and "ddbq" in line.split()[0]]
    assert len(commands) == 3
    for line in commands:
        done = run_program([str(find_tool("ddbq")), *shlex.split(line)[1:]], env)
        assert done.returncode == 0, done.stderr
        assert all(json.loads(row) for row in done.stdout.splitlines())
        assert done.stdout


def test_a_text_where_a_number_belongs_is_no_failure(demo: ServerProcess) -> None:
    """It finds nothing, `ddbq` says why, and neither the demo nor other callers suffer."""
    _, _, directions = demo.output.partition("Serving on")
    (exports,) = (line for line in directions.splitlines() if line.startswith("export "))
    env = dict(word.split("=", 1) for word in shlex.split(exports)[1:])
    query = [str(find_tool("ddbq")), "query", "flights", "carrier = :c AND distance > :d"]
    for _ in range(3):
        mistaken = run_program([*query, "-p", "c=UA", "-p", "d=2000"], env)
        assert mistaken.returncode == 0, mistaken.stderr
        assert mistaken.stdout == ""
        assert "use -p d:=2000" in mistaken.stderr
    right = run_program([*query, "-p", "c=UA", "-p", "d:=2000"], env)
    assert right.returncode == 0, right.stderr
    assert right.stdout
    assert "Traceback" not in demo.output


def test_readme_examples_work(demo: ServerProcess, grpcurl: Path, tmp_path: Path) -> None:
    """What README.md says to paste works; only the address and the key are the demo's."""
    _, _, directions = demo.output.partition("Serving on")
    (exports,) = (line for line in directions.splitlines() if line.startswith("export "))
    env = dict(word.split("=", 1) for word in shlex.split(exports)[1:])

    def blocks(start: str) -> list[str]:
        found = re.findall(
            rf"^```\w+\n({re.escape(start)}.*?)^```$", README, re.MULTILINE | re.DOTALL
        )
        return [str(text).replace("127.0.0.1:50051", env["DDBQ_TARGET"]) for text in found]

    answers = []
    for text in blocks("grpcurl"):
        answered = run_line(text.replace("$DDBQ_API_KEY", env["DDBQ_API_KEY"]), grpcurl)
        assert answered.returncode == 0, answered.stderr
        answers.append(json.loads(answered.stdout))
    page, count = answers
    assert len(page["items"]) == 3
    assert page["next_page_token"]
    assert count["total"] == {"value": "500", "relation": "TOTAL_RELATION_AT_LEAST"}

    (example,) = blocks("import asyncio")
    program = tmp_path / "example.py"
    program.write_text(example, encoding="utf-8")
    ran = run_program([sys.executable, str(program)], env)
    assert ran.returncode == 0, ran.stderr
    first, second = ran.stdout.splitlines()
    assert first == "3 items by by_user"
    assert int(second.split()[0]) > 3

    (commands,) = blocks("ddbq")
    printed = []
    for line in commands.splitlines():
        done = run_program([str(find_tool("ddbq")), *shlex.split(line, comments=True)[1:]], env)
        assert done.returncode == 0, done.stderr
        printed.append([json.loads(row) for row in done.stdout.splitlines()])
    streamed, (counted,), (got,), (explained,) = printed
    assert {row["carrier"] for row in streamed} == {"UA"}
    assert counted == len(streamed)
    assert got["flight"] == 1545
    assert explained["path"] == "GLOBAL_INDEX"


def test_sigterm_ends_it_well(demo: ServerProcess) -> None:
    """It stops serving, leaves nothing behind and has not failed."""
    catalog = next(
        Path(line.split()[1]) for line in demo.output.splitlines() if line.startswith("Catalog:")
    )
    assert catalog.is_file()
    assert demo.stop() == 0
    assert not catalog.parent.exists()
    assert "Traceback" not in demo.output


def test_taken_port_is_said_at_once() -> None:
    """Nothing is set up for a port that somebody else has."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, output = run_once("--listen", address)
    assert code == 2
    assert output.startswith(f"listen: cannot serve on {address}")
    assert "Creating" not in output


def run_line(line: str, grpcurl: Path) -> subprocess.CompletedProcess[str]:
    """Run a printed line as a shell would."""
    name, *arguments = shlex.split(line)
    assert name == "grpcurl"
    return run_program([str(grpcurl), *arguments])


def run_program(
    command: Sequence[str], env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        command,
        env=clean_environment(env),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
