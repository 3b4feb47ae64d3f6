"""The demo as a newcomer runs it."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.backends import find_tool
from tests.support.documentation import code_blocks, python_program
from tests.support.lengths import PATIENCE
from tests.support.processes import ServerProcess, clean_environment, start_command

# Seconds after which the demo counts as hung; pytest ends a test a little later.
WITHIN = 1_000.0
# The guides whose examples the demo can answer.
GUIDES = ("budgets", "caching", "cli", "counting", "pagination", "python-client", "querying")
REFUSED = {10: "FailedPrecondition", 11: "Unauthenticated"}


def run_once(*arguments: str, **env: str) -> tuple[int, str]:
    """Run the demo to its end; return its exit code and its output."""
    process = start_command(["demo", "--once", "--listen", "127.0.0.1:0", *arguments], env=env)
    return process.wait(timeout=WITHIN), process.output


@pytest.fixture(scope="module")
def demo() -> Iterator[ServerProcess]:
    """A demo that serves after its walk; the fixture stops it as an operator does."""
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


@pytest.fixture(scope="module")
def admin_key(demo: ServerProcess) -> str:
    """A key with the role `admin`, appended to the demo's keys file and in force."""
    line = next(line for line in demo.output.splitlines() if line.startswith("Keys:"))
    create = [
        "keys",
        "create",
        "--principal",
        "ops",
        "--table",
        "*",
        "--role",
        "admin",
        "--role",
        "reader",
    ]
    done = run_program([str(find_tool("dynamodb-processor")), *create, "--append", line.split()[1]])
    assert done.returncode == 0, done.stderr
    env = exports(demo) | {"DDBQ_API_KEY": done.stdout.strip()}
    deadline = time.monotonic() + PATIENCE
    while run_program([str(find_tool("ddbq")), "cache", "stats"], env).returncode != 0:
        assert time.monotonic() < deadline, demo.output
    return env["DDBQ_API_KEY"]


@pytest.mark.parametrize("backend", ["embedded", "dynamodb-local"])
def test_walk_shows_every_step_and_ends(backend: str, show_line: Callable[[str], None]) -> None:
    """On either DynamoDB all steps show their promised results, and the exit code is 0."""
    started = time.monotonic()
    code, output = run_once("--backend", backend)
    show_line(f"demo on {backend}: {time.monotonic() - started:.1f} s")
    assert code == 0, output
    assert "all 11 steps showed what they promise" in output
    assert "cache HIT" in output
    assert "FAILED_PRECONDITION (SCAN_NOT_ALLOWED): this needs a scan" in output
    assert "UNAUTHENTICATED" in output
    assert "Ctrl-C" not in output


def test_tables_in_aws_are_announced_with_their_cost(dynamodb_local: str) -> None:
    """DynamoDB is where AWS's tools look for it, and the demo announces the cost."""
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
    """Reflection, health, the tables and three flights of United work as the last lines say."""
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
    env = exports(demo)
    commands = [line for line in lines if shlex.split(line)[:1] and "ddbq" in line.split()[0]]
    assert len(commands) == 3
    for line in commands:
        done = run_program([str(find_tool("ddbq")), *shlex.split(line)[1:]], env)
        assert done.returncode == 0, done.stderr
        assert all(json.loads(row) for row in done.stdout.splitlines())
        assert done.stdout


def test_a_text_where_a_number_belongs_is_no_failure(demo: ServerProcess) -> None:
    """The query finds nothing, `ddbq` gives the reason, and the demo serves on."""
    env = exports(demo)
    query = [str(find_tool("ddbq")), "query", "flights", "carrier = :c AND distance > :d"]
    for _ in range(3):
        mistyped = run_program([*query, "-p", "c=UA", "-p", "d=2000"], env)
        assert mistyped.returncode == 0, mistyped.stderr
        assert mistyped.stdout == ""
        assert "use -p d:=2000" in mistyped.stderr
    right = run_program([*query, "-p", "c=UA", "-p", "d:=2000"], env)
    assert right.returncode == 0, right.stderr
    assert right.stdout
    assert "Traceback" not in demo.output


def test_readme_examples_work(demo: ServerProcess, grpcurl: Path, tmp_path: Path) -> None:
    """The commands and the program of README.md work, with the demo's address and key."""
    env = exports(demo)

    (page,) = run_console("README.md", "grpcurl", env, grpcurl, tmp_path)
    answer = json.loads(page)
    assert len(answer["items"]) == 3
    assert answer["next_page_token"]

    (example,) = code_blocks("README.md", "python")
    first, second = run_python(example, env, tmp_path).splitlines()
    assert first == "3 items by by_user"
    assert int(second.split()[0]) > 3

    printed = run_console("README.md", "ddbq", env, grpcurl, tmp_path)
    streamed, (counted,), (got,), (explained,) = (
        [json.loads(row) for row in output.splitlines()] for output in printed
    )
    assert {row["carrier"] for row in streamed} == {"UA"}
    assert counted == len(streamed)
    assert got["flight"] == 1545
    assert explained["path"] == "GLOBAL_INDEX"


@pytest.mark.parametrize("guide", GUIDES)
def test_examples_of_a_guide_work(
    guide: str, demo: ServerProcess, admin_key: str, grpcurl: Path, tmp_path: Path
) -> None:
    """Each command and each Python block of a guide succeeds, with a key for all of them."""
    env = exports(demo) | {"DDBQ_API_KEY": admin_key}
    page = f"docs/guide/{guide}.md"
    answers = [json.loads(text) for text in run_console(page, "grpcurl", env, grpcurl, tmp_path)]
    programs = [run_python(block, env, tmp_path) for block in code_blocks(page, "python")]
    assert programs or guide == "cli"
    run_console(page, "ddbq", env, grpcurl, tmp_path)
    if guide == "counting":
        total = {"value": "500", "relation": "TOTAL_RELATION_AT_LEAST"}
        assert [answer["total"] for answer in answers] == [total]
        assert programs == ["500 or more\n3 of 772\n"]


def test_sigterm_ends_the_demo_cleanly(demo: ServerProcess) -> None:
    """It stops serving, leaves nothing behind and exits without failure."""
    catalog = next(
        Path(line.split()[1]) for line in demo.output.splitlines() if line.startswith("Catalog:")
    )
    assert catalog.is_file()
    assert demo.stop() == 0
    assert not catalog.parent.exists()
    assert "Traceback" not in demo.output


def test_a_port_in_use_is_reported_at_once() -> None:
    """A port in use is reported before anything is set up."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, output = run_once("--listen", address)
    assert code == 2
    assert output.startswith(f"listen: cannot serve on {address}")
    assert "Creating" not in output


def exports(demo: ServerProcess) -> dict[str, str]:
    """Return the variables that the demo's last lines export."""
    _, _, directions = demo.output.partition("Serving on")
    (line,) = (line for line in directions.splitlines() if line.startswith("export "))
    return dict(word.split("=", 1) for word in shlex.split(line)[1:])


def run_console(
    page: str, program: str, env: dict[str, str], grpcurl: Path, directory: Path
) -> list[str]:
    """Run a page's commands of one program and return the output of each.

    A block of grpcurl is one command, one of ddbq has a command on each line.
    """
    printed = []
    for block in code_blocks(page, "console"):
        for command in [block] if block.startswith("grpcurl") else block.splitlines():
            if not command.startswith(f"{program} "):
                continue
            text = command.replace("127.0.0.1:50051", env["DDBQ_TARGET"])
            text = text.replace("$DDBQ_API_KEY", env["DDBQ_API_KEY"])
            words = shlex.split(text, comments=True)
            tool = grpcurl if program == "grpcurl" else find_tool(program)
            done = run_program([str(tool), *words[1:]], env, directory)
            assert done.returncode == 0, done.stderr
            printed.append(done.stdout)
    return printed


def run_python(block: str, env: dict[str, str], directory: Path) -> str:
    """Run a Python block of a page and return its output."""
    program = directory / "example.py"
    text = python_program(block).replace("127.0.0.1:50051", env["DDBQ_TARGET"])
    program.write_text(text, encoding="utf-8")
    done = run_program([sys.executable, str(program)], env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_line(line: str, grpcurl: Path) -> subprocess.CompletedProcess[str]:
    """Run a printed line as a shell would."""
    name, *arguments = shlex.split(line)
    assert name == "grpcurl"
    return run_program([str(grpcurl), *arguments])


def run_program(
    command: Sequence[str], env: dict[str, str] | None = None, directory: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, in a directory for the files that it writes."""
    return subprocess.run(
        command,
        cwd=directory,
        env=clean_environment(env),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
