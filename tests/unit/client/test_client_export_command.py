"""Tests of `ddbq stream --output FILE` as a process: resumed, interrupted, and refused."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from dynamodb_processor_client.command import main
from tests.support.fake_service import Cut, Failure, FakeService, numbered
from tests.unit.client.commands import COMMAND, Run
from tests.unit.client.exporting import expected_jsonl, expected_rows, names_in, rows, varied
from tests.unit.client.standard_streams import Kind, popen, start_between, until

Kinds = tuple[Kind, Kind, Kind]

NAMES = ["n", "a_late_one", "bytes", "digits", "flag", "list", "mixed", "none", "numbers", "price"]
NAMES += ["tags", "text"]


async def test_every_form_has_every_item(run: Run, service: FakeService, tmp_path: Path) -> None:
    """Files have all items, also attributes that only a late item has, and nothing is left over."""
    service.items = varied(1_300)
    names = ("a.csv", "a.json", "a.jsonl")
    for name in names:
        outcome = await run("stream", "numbers", "--output", str(tmp_path / name))
        assert (outcome.status, outcome.output) == (0, ""), outcome.errors
        assert outcome.errors == f"{tmp_path / name}: 1,300 items\n"
    lines = (tmp_path / "a.jsonl").read_text("utf-8")
    assert lines == expected_jsonl(service.items)
    document = json.loads((tmp_path / "a.json").read_text("utf-8"), parse_float=str, parse_int=str)
    assert document == [
        json.loads(line, parse_float=str, parse_int=str) for line in lines.splitlines()
    ]
    assert rows(tmp_path / "a.csv") == expected_rows(service.items, sorted(NAMES))
    assert names_in(tmp_path) == list(names)


async def test_a_broken_export_is_continued(run: Run, service: FakeService, tmp_path: Path) -> None:
    """After an error the items are kept, and `--resume` continues behind them."""
    failure = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough for today")
    service.cuts.append(Cut(after=3, failure=failure))
    path = tmp_path / "a.jsonl"
    export = ("stream", "numbers", "--output", str(path), "--resume")
    broken = await run(*export)
    assert broken.status == 75
    assert broken.errors.splitlines() == [
        "300 items are kept: continue with the same command and --resume",
        "ddbq: RESOURCE_EXHAUSTED: enough for today",
    ]
    assert not path.exists()
    resumed = await run(*export)
    assert resumed.errors == f"continuing after 300 items\n{path}: 1,000 items\n"
    assert service.stream_requests[-1].resume_token == "300:700"
    assert path.read_text() == expected_jsonl(service.items)


async def test_a_refused_query_leaves_no_files(
    run: Run, service: FakeService, tmp_path: Path
) -> None:
    """An export that ends before its first item has nothing to continue from."""
    for resume in ([], ["--resume"]):
        failure = Failure(grpc.StatusCode.INVALID_ARGUMENT, "column 3")
        service.cuts.append(Cut(after=0, failure=failure))
        path = tmp_path / "a.csv"
        outcome = await run("stream", "numbers", "n = = 1", "--output", str(path), *resume)
        assert outcome.status == 1
        assert names_in(tmp_path) == []


async def test_ctrl_c_keeps_the_items(
    environment: dict[str, str], run: Run, service: FakeService, tmp_path: Path
) -> None:
    """An interrupted export has the usual exit code, and is continued."""
    service.hang_after = 2
    path = tmp_path / "a.csv"
    export = ("stream", "numbers", "--columns", "n", "--output", str(path))
    command = start_between(("file", "file", "pipe"), environment, tmp_path, *export)
    await until(lambda: path.with_name("a.csv.ddbq-state").exists())
    command.process.send_signal(signal.SIGINT)
    status, _, errors = await command.ended()
    assert status == 130
    assert "items are kept: continue with the same command and --resume" in errors
    service.hang_after = None
    assert (await run(*export, "--resume")).status == 0
    assert path.read_text() == "n\n" + "".join(f"{n}\n" for n in range(1_000))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, "TOKEN_EXPIRED"),
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
    ],
)
async def test_a_token_that_is_not_accepted(
    run: Run, service: FakeService, tmp_path: Path, code: grpc.StatusCode, reason: str
) -> None:
    """If the token of an export has expired, the error says how to begin again."""
    path = tmp_path / "a.jsonl"
    refused = Failure(code, "the token", details=(ErrorInfo(reason=reason),))
    service.cuts += [Cut(after=1, failure=Failure(grpc.StatusCode.INTERNAL)), Cut(0, refused)]
    export = ("stream", "numbers", "--output", str(path), "--resume")
    assert (await run(*export)).status == 1
    outcome = await run(*export)
    assert outcome.status == 1
    assert f"({reason})" in outcome.errors
    assert (
        f"the token of the unfinished export is not accepted; to start again, remove {path}.ddbq-"
        in outcome.errors
    )
    assert "--token" not in outcome.errors


async def test_a_full_disk(
    environment: dict[str, str], run: Run, service: FakeService, tmp_path: Path
) -> None:
    """A file that cannot grow ends the export with a reason, and it is continued later."""
    service.items = numbered(5_000)
    path = tmp_path / "a.jsonl"
    export = ("stream", "numbers", "--output", str(path))
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", 'ulimit -f 8; exec "$@"', "sh", *COMMAND, *export),
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().splitlines()[-1] == f"ddbq: {path}.ddbq-part: File too large"
    assert (await run(*export, "--resume")).status == 0
    assert path.read_text() == expected_jsonl(service.items)


async def test_an_export_to_a_pipe_of_many_items(
    run: Run, service: FakeService, tmp_path: Path
) -> None:
    """CSV on standard output has all columns, and with `--columns` it is written as it comes."""
    service.items = varied(200)
    outcome = await run("stream", "numbers", "-o", "csv")
    file = tmp_path / "a.csv"
    file.write_text(outcome.output, encoding="utf-8", newline="")
    names = sorted(name for name in NAMES if name != "a_late_one")
    assert rows(file) == expected_rows(service.items, names)
    service.hang_after = 1
    command = [*COMMAND, "stream", "numbers", "-o", "csv", "--columns", "n,text"]
    process = popen(command, environment_of(service), None, subprocess.PIPE, None)
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == b"n,text\n"
    process.kill()
    process.stdout.close()
    await asyncio.to_thread(process.wait)


def environment_of(service: FakeService) -> dict[str, str]:
    """Return an environment with nothing but the address of the service."""
    return {"DDBQ_TARGET": service.address, "PATH": "/usr/bin:/bin"}


async def test_columns(run: Run, service: FakeService) -> None:
    """`--columns` chooses attributes and their order in every form, and requests no others."""
    service.items = varied(3)
    lines = await run("query", "numbers", "--columns", "text,n", "-o", "jsonl")
    assert lines.output.splitlines()[1] == '{"text": "a,b", "n": 1}'
    table = await run("query", "numbers", "--columns", 'n, "a,b"', "-o", "csv")
    assert table.output == 'n,"a,b"\n0,\n1,\n2,\n'
    assert list(service.requests[-1].query.projection) == ["n", '"a,b"']
    got = await run("get", "numbers", "--key", "n:=1", "--columns", "n,text", "-o", "csv")
    assert got.output == 'n,text\n1,"a,b"\n'
    assert list(service.batch_requests[-1].projection) == ["n", "text"]


async def test_an_explanation_instead_of_items(
    run: Run, service: FakeService, tmp_path: Path
) -> None:
    """`--explain` shows the plan of the same command line, and reads and writes nothing."""
    service.explanation.index = "by_n"
    path = tmp_path / "a.csv"
    for command in (
        ("query", "numbers", "-o", "csv"),
        ("stream", "numbers", "--output", str(path)),
        ("count", "numbers"),
    ):
        outcome = await run(*command, "--explain")
        assert (outcome.status, outcome.lines[0]["index"]) == (0, "by_n")
    assert not service.requests
    assert not service.stream_requests
    assert not service.count_requests
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("query", "t", "-o", "a.csv"), "'a.csv' is no form: choose from table, vertical"),
        (("stream", "t", "-o", "jsnl"), "'jsnl' is neither a form (table, vertical, jsonl"),
        (("stream", "t", "-o", "./data"), "the suffix of ./data gives no form"),
        (("stream", "t", "-o", "csv", "--resume"), "--resume: needs a file: --output FILE"),
        (("stream", "t", "--format", "csv"), "--format: needs a file: --output FILE"),
        (("stream", "t", "-o", "a.csv", "--token", "t"), "--token: an export keeps its own"),
        (("stream", "t", "--columns", "a,,b"), "not a list of names with commas: 'a,,b'"),
        (("stream", "t", "--columns", "a,"), "not a list of names with commas: 'a,'"),
        (("stream", "t", "--columns", "a,a"), "a is given twice"),
        (("stream", "t", "--columns", ""), "not a list of names with commas: ''"),
        (("count", "t", "-o", "csv"), "'csv' is no form: choose from table, vertical, jsonl, json"),
    ],
)
def test_wrong_outputs(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An output that does not fit its command is refused before anything is read."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert words in capsys.readouterr().err


async def test_a_file_with_another_suffix(run: Run, service: FakeService, tmp_path: Path) -> None:
    """`--format` gives the form of a file whose suffix does not."""
    path = tmp_path / "data"
    assert (await run("stream", "numbers", "--output", str(path), "--format", "csv")).status == 0
    assert len(rows(path)) == 1_000


async def test_the_time_left(
    environment: dict[str, str], service: FakeService, tmp_path: Path
) -> None:
    """`--eta` counts only where the progress line is shown, and says its cost."""
    service.items = numbered(5_000)
    export = ("stream", "numbers", "--output", str(tmp_path / "a.csv"), "--eta", "9000")
    on_terminal: Kinds = ("file", "file", "terminal")
    _, _, shown = await start_between(on_terminal, environment, tmp_path, *export).ended()
    assert "--eta: counted 5,000 items with 0 read units" in shown
    assert "of 5,000, about 0:00:0" in shown
    assert service.count_requests[0].total.up_to == 9_000
    service.count_requests.clear()
    elsewhere: Kinds = ("file", "file", "pipe")
    again = (*export[:3], str(tmp_path / "b.csv"), *export[4:])
    command = start_between(elsewhere, environment, tmp_path, *again)
    assert (await command.ended())[0] == 0
    assert not service.count_requests
