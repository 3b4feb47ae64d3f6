"""Tests of exports into files: crashes, refusals, and files that others changed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest

from dynamodb_processor_client import Query
from dynamodb_processor_client.destinations import Form
from dynamodb_processor_client.exports.errors import ExportError
from dynamodb_processor_client.exports.export import Contents, Export
from dynamodb_processor_client.exports.state import query_digests
from dynamodb_processor_client.values import Item, decode_item
from tests.unit.client.exporting import expected_jsonl, varied

ITEMS: list[Item] = [decode_item(item) for item in varied(10)]
WHOLE = expected_jsonl(varied(10))
CONTENTS = Contents(Query("t", "n > :n", n=1), "jsonl")


def unfinished(path: Path, contents: Contents = CONTENTS) -> None:
    """Leave an export with four of ten items."""
    export = Export(str(path), contents)
    export.begin(resume=False)
    export.add(ITEMS[:4], "4")
    export.close()


def finish(export: Export) -> None:
    """Add the items that an export lacks."""
    export.add(ITEMS[int(export.resume_token or 0) :], "")
    export.finish()


def companion(path: Path, kind: str) -> Path:
    """Return the part or the state beside a file."""
    return path.with_name(f"{path.name}.ddbq-{kind}")


@pytest.mark.parametrize("form", ["jsonl", "json", "csv", "parquet"])
async def test_an_export_survives_a_crash_before_any_change(form: Form, tmp_path: Path) -> None:
    """Killed before any two changes to the disk and resumed, it leaves the whole file alone."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.unit.client.crashing", form, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert int(output) >= 14


def test_a_torn_end_is_cut_off(tmp_path: Path) -> None:
    """Bytes after those that the state counts, as of a half-written page, do not stay."""
    path = tmp_path / "a.jsonl"
    unfinished(path)
    with companion(path, "part").open("ab") as part:
        part.write(b"x" * 100_000)
    export = Export(str(path), CONTENTS)
    export.begin(resume=True)
    assert (export.items, export.resume_token) == (4, "4")
    finish(export)
    assert path.read_text("utf-8") == WHOLE
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    """A file is replaced at once, through links, and keeps its permissions."""
    path, link = tmp_path / "a.jsonl", tmp_path / "link.jsonl"
    path.write_text("old")
    path.chmod(0o600)
    link.symlink_to(path)
    export = Export(str(link), CONTENTS)
    export.begin(resume=False)
    export.add(ITEMS, "10")
    assert path.read_text() == "old"
    export.add([], "")
    export.finish()
    assert link.is_symlink()
    assert path.read_text("utf-8") == WHOLE
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_state_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The state has a page token and digests of values, which other users are not to read."""
    path = tmp_path / "a.jsonl"
    unfinished(path)
    assert companion(path, "state").stat().st_mode & 0o777 == 0o600


def test_checkpoints_take_a_small_part_of_the_time(tmp_path: Path) -> None:
    """After a checkpoint of one second the next one follows twenty seconds later."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.5
        return now

    path = tmp_path / "a.jsonl"
    export = Export(str(path), CONTENTS, clock=clock)
    export.begin(resume=False)
    saved: list[int] = []
    for number in range(50):
        export.add(ITEMS[:1], str(number + 1))
        saved.append(json.loads(companion(path, "state").read_bytes())["items"])
    export.close()
    assert saved[0] == 1
    assert 2 <= len(set(saved)) <= 4


@pytest.mark.parametrize(
    ("contents", "difference"),
    [
        (Contents(Query("t", "n > :n", n=2), "jsonl"), "-p"),
        (Contents(Query("t", "n > 1"), "jsonl"), "the expression, -p"),
        (Contents(Query("t", "n > :n", n=1, index="i", max_items=5), "jsonl"), "--index, --max"),
        (Contents(Query("t", "n > :n", n=1, descending=True), "jsonl"), "--descending"),
        (Contents(Query("t", "n > :n", n=1), "csv", ["n"]), "the form (jsonl, not csv), --columns"),
        (Contents(Query("t", "n > :n", n=1), "jsonl", ["n"]), "--columns"),
        (Contents(Query("u", "n > :n", n=1, projection=["n"]), "jsonl"), "--project or --columns"),
    ],
)
def test_another_query_is_refused(contents: Contents, difference: str, tmp_path: Path) -> None:
    """The error names the options in which the query differs; the export stays as it is."""
    path = tmp_path / "a.jsonl"
    unfinished(path)
    with pytest.raises(ExportError) as raised:
        Export(str(path), contents).begin(resume=True)
    text = str(raised.value)
    assert "is of another query; different are: " in text
    assert difference in text
    assert f"to start again, remove {companion(path, 'part')} and" in text
    export = Export(str(path), CONTENTS)
    export.begin(resume=True)
    finish(export)
    assert path.read_text("utf-8") == WHOLE


def _change_a_byte(path: Path) -> None:
    part = companion(path, "part")
    part.write_bytes(b"X" + part.read_bytes()[1:])


def _cut_the_part(path: Path) -> None:
    os.truncate(companion(path, "part"), 10)


def _change_the_state(**fields: object) -> object:
    def change(path: Path) -> None:
        state = companion(path, "state")
        state.write_text(json.dumps(json.loads(state.read_text()) | fields))

    return change


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (_change_a_byte, "a.jsonl.ddbq-part was changed since it was written"),
        (_cut_the_part, "a.jsonl.ddbq-part was changed since it was written"),
        (lambda path: companion(path, "part").unlink(), "a.jsonl.ddbq-part is missing"),
        (lambda path: companion(path, "state").write_text("{"), "cannot be used: it is no JSON"),
        (lambda path: companion(path, "state").write_text("[]"), "it is no JSON object"),
        (_change_the_state(version=2), "it has the version 2, not 1"),
        (_change_the_state(more=1), "these fields are missing or unknown: more"),
        (_change_the_state(items=-1, size="x"), "these fields are not valid: items, size"),
    ],
)
def test_changed_files_are_refused(change: object, error: str, tmp_path: Path) -> None:
    """An export does not continue files that were changed; the error names one and the remedy."""
    path = tmp_path / "a.jsonl"
    unfinished(path)
    assert callable(change)
    change(path)
    before = {one: one.read_bytes() for one in tmp_path.iterdir()}
    with pytest.raises(ExportError) as raised:
        Export(str(path), CONTENTS).begin(resume=True)
    assert error in str(raised.value)
    assert "to start again, remove" in str(raised.value)
    assert {one: one.read_bytes() for one in tmp_path.iterdir()} == before


def test_an_unfinished_export_is_not_lost_by_accident(tmp_path: Path) -> None:
    """Without `--resume` an unfinished export is refused, and not begun again."""
    path = tmp_path / "a.jsonl"
    unfinished(path)
    with pytest.raises(ExportError, match="has 4 items: continue it with --resume"):
        Export(str(path), CONTENTS).begin(resume=False)


def test_a_finished_file_is_not_taken_for_an_unfinished_one(tmp_path: Path) -> None:
    """With `--resume` a file without a state is not replaced."""
    path = tmp_path / "a.jsonl"
    path.write_text("whole")
    with pytest.raises(ExportError, match="exists, and no unfinished export into it"):
        Export(str(path), CONTENTS).begin(resume=True)
    assert list(tmp_path.iterdir()) == [path]


def test_two_commands_do_not_write_one_file(tmp_path: Path) -> None:
    """The second command is refused while the first one runs, and not afterwards."""
    path = tmp_path / "a.jsonl"
    first = Export(str(path), CONTENTS)
    first.begin(resume=True)
    with pytest.raises(ExportError, match="another process exports into"):
        Export(str(path), CONTENTS).begin(resume=True)
    first.add(ITEMS[:4], "4")
    with pytest.raises(ExportError, match="another process exports into"):
        Export(str(path), CONTENTS).begin(resume=True)
    first.close()
    second = Export(str(path), CONTENTS)
    second.begin(resume=True)
    finish(second)
    assert path.read_text("utf-8") == WHOLE


@pytest.mark.parametrize("target", ["/dev/null", "."])
def test_only_files_are_written(target: str, tmp_path: Path) -> None:
    """Devices and folders are not replaced by files."""
    with pytest.raises(ExportError, match="is no file"):
        Export(target, CONTENTS).begin(resume=False)


@pytest.mark.parametrize("folder", ["none", "file"])
def test_a_folder_that_is_missing(folder: str, tmp_path: Path) -> None:
    """The error names the folder and the remedy, also where a file has its name."""
    (tmp_path / "file").touch()
    error = f"there is no folder {tmp_path / folder}: make it with mkdir -p, or name another file"
    with pytest.raises(ExportError, match=re.escape(error)):
        Export(str(tmp_path / folder / "a.jsonl"), CONTENTS).begin(resume=False)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """The error for it names it and the reason."""
    with pytest.raises(ExportError, match="x: File name too long"):
        Export(str(tmp_path / ("x" * 300)), CONTENTS).begin(resume=False)


def test_every_field_of_a_query_has_a_digest() -> None:
    """Two queries that differ in one field have one digest that differs."""
    plain = query_digests(Query("t"))
    other = query_digests(
        Query(
            "u",
            "a = :a",
            a=1,
            index="i",
            descending=True,
            projection=["a"],
            consistent=True,
            max_items=1,
        )
    )
    assert {name for name, digest in plain.items() if digest == other[name]} == set()
