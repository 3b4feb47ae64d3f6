"""Exports items, and is killed before each of its changes to the disk: twice, then it resumes.

`python -m tests.unit.client.crashing FORM FOLDER` prints the number of changes. It fails if a file
that appeared is not complete, or if the last one is not the one of an export without a crash.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from dynamodb_processor_client import Query
from dynamodb_processor_client.destinations import Form
from dynamodb_processor_client.exports.export import Contents, Export
from dynamodb_processor_client.values import decode_item
from tests.unit.client.exporting import varied

_CHANGES = ("os.rename", "os.remove", "os.truncate")
_KILLED = 9
_ITEMS = [decode_item(item) for item in varied(30)]
_PAGE_SIZES = (7, 4, 9)  # of the first export, and of each that resumes


def main(form: Form, folder: Path) -> int:
    """Kill exports before the first change, the second, and so on."""
    whole = folder / f"whole.{form}"
    _export(whole, form, 1)
    expected = whole.read_bytes()
    crash = 0
    while True:
        crash += 1
        path = folder / f"crashed-{crash}.{form}"
        if not _in_child(partial(_killed_at, crash, path, form, _PAGE_SIZES[0])):
            break
        assert not path.exists() or path.read_bytes() == expected, f"half a file at {crash}"
        _in_child(partial(_killed_at, crash, path, form, _PAGE_SIZES[1]))
        assert not path.exists() or path.read_bytes() == expected, f"half a file at {crash}"
        _export(path, form, _PAGE_SIZES[2])
        assert path.read_bytes() == expected, f"another file at {crash}"
        left = sorted(one.name for one in folder.iterdir() if one.name.startswith(path.name))
        assert left == [path.name], left
    print(crash - 1)
    return 0


def _export(path: Path, form: Form, page: int) -> None:
    clock = iter(range(10_000))  # Each page is followed by a checkpoint.
    export = Export(str(path), Contents(Query("t"), form), clock=lambda: next(clock) // 100)
    if path.exists() and not path.with_name(f"{path.name}.ddbq-state").exists():
        return
    export.begin(resume=True)
    while not export.is_read:
        begin = int(export.resume_token or 0)
        end = begin + page
        export.add(_ITEMS[begin:end], str(end) if end < len(_ITEMS) else "")
    export.finish()


def _killed_at(crash: int, path: Path, form: Form, page: int) -> None:
    """Export in this process, which ends at once before a change to the disk."""
    left = crash

    def on_event(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        is_flush = event == "open" and str(arguments[0]) == str(path.parent)
        if event in _CHANGES or is_flush:
            left -= 1
            if not left:
                os._exit(_KILLED)

    sys.addaudithook(on_event)
    _export(path, form, page)


def _in_child(run: Callable[[], None]) -> bool:
    """Run in a process of its own; tell whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - the parent gets the exit code
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, _KILLED), f"the export failed: {code}"
    return code == _KILLED


if __name__ == "__main__":
    sys.exit(main(cast("Form", sys.argv[1]), Path(sys.argv[2])))
