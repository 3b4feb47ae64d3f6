"""Plays scenes: scripts of Node.js that drive the browser, and send requests to the test."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from dynamodb_processor_server.demo.tool_cache import ToolCache
from tests.browser.link import Link
from tests.interop.typescript import compiled
from tests.support.backends import find_tool
from tests.support.chromium import Browser
from tests.support.documentation import ROOT
from tests.support.gateway import Gateway
from tests.support.lengths import PATIENCE

CARRIERS: Final = ("B6", "DL", "UA")
_SCENES: Final = Path(__file__).with_name("scenes")
# More than the first pages of a stream, less than all of it.
_CUT_AFTER: Final = 60_000
#: Items whose values a table, a file or a spreadsheet could take for something else.
ODD: Final[list[dict[str, Any]]] = [
    {
        "id": {"S": "a"},
        "n": {"N": "1"},
        "formula": {"S": "=1+1"},
        "html": {"S": "<img src=x onerror=alert(1)>"},
        "__proto__": {"S": "own"},
        "lines": {"S": 'a\r\n"b", c'},
        "exact": {"N": "12345678901234567890123456789012345678"},
        "less": {"N": "-5"},
        "nothing": {"NULL": True},
        "word": {"S": "null"},
        "empty": {"S": ""},
        "bytes": {"B": b"\xff\x00"},
        "nested": {"M": {"list": {"L": [{"N": "1.50"}, {"BOOL": True}]}, "set": {"SS": ["x"]}}},
    },
    {
        "id": {"S": "a"},
        "n": {"N": "2"},
        "formula": {"S": "@SUM(A1)"},
        "bytes": {"B": b"\xff\x00"},
        "flag": {"BOOL": True},
        "two words": {
            "M": {"n": {"N": "12345678901234567890"}, "l": {"L": [{"NULL": True}, {"S": "x"}]}}
        },
    },
]
_ODD_ROWS: Final = [
    {
        "id": "a", "n": "1", "formula": "'=1+1", "html": "<img src=x onerror=alert(1)>",
        "__proto__": "own", "lines": 'a\r\n"b", c', "less": "-5",
        "exact": "12345678901234567890123456789012345678",
        "nothing": "null", "word": "null", "empty": "", "bytes": "/wA=",
        "nested": '{"list":[1.50,true],"set":["x"]}', "flag": "", "two words": "",
    },
    {
        "id": "a", "n": "2", "formula": "'@SUM(A1)", "html": "", "__proto__": "",
        "lines": "", "exact": "", "less": "", "nothing": "", "word": "", "empty": "",
        "bytes": "/wA=", "nested": "", "flag": "true",
        "two words": '{"l":[null,"x"],"n":12345678901234567890}',
    },
]  # fmt: skip


class SceneFailed(Exception):
    """A scene did not go as it should; the text is what the script says."""


@dataclass(frozen=True, slots=True)
class Theatre:
    """The console at `url`, for a user with a key, and `items` as a scene should read them."""

    browser: Browser
    url: str
    key: str
    link: Link
    gateway: Gateway
    items: list[dict[str, Any]]

    def play(self, scene: str, folder: Path, *arguments: str) -> None:
        """Play a scene to its end.

        Raises:
            SceneFailed: it failed.
        """
        command, environment = self.browser.prepare(_SCENES / scene, folder)
        errors = folder / "errors.txt"
        with (
            errors.open("wb") as stderr,
            subprocess.Popen(
                [*command, self.url, self.key, *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            ) as process,
        ):
            assert process.stdin is not None
            assert process.stdout is not None
            for line in process.stdout:
                answer = self._answer(json.loads(line))
                process.stdin.write(f"{json.dumps(answer)}\n")
                process.stdin.flush()
        if process.returncode != 0:
            raise SceneFailed(errors.read_text("utf-8"))

    def _answer(self, request: Mapping[str, Any]) -> Any:
        match request["do"]:
            case "count":
                return len(self.items)
            case "gateway":
                return self.gateway.url
            case "compare":
                return self._compare(_json(request), _csv(request))
            case "compare odd":
                return _compare_odd(_json(request), _csv(request))
            case "run":
                return self._run(request["form"], request["text"])
            case "cut":
                self.link.cut_after(_CUT_AFTER, once=request["once"])
            case "heal":
                self.link.heal()
                self.gateway.wait_until_ready()
            case other:
                raise ValueError(other)
        return None

    def _compare(self, items: list[dict[str, Any]], rows: list[dict[str, str]]) -> str:
        """Return "equal" if both files have the data, else the first difference."""
        wanted = [{k: v for k, v in item.items() if v is not None} for item in self.items]
        for at, (one, other) in enumerate(zip(items, wanted, strict=False)):
            if one != other:
                return f"item {at} in JSON: {one}, not {other}"
        texts = [{name: str(value) for name, value in item.items()} for item in wanted]
        for at, (row, text) in enumerate(zip(rows, texts, strict=False)):
            if {name: value for name, value in row.items() if value} != text:
                return f"row {at} in CSV: {row}, not {text}"
        lengths = {len(items), len(rows), len(wanted)}
        return "equal" if len(lengths) == 1 else f"numbers of items differ: {lengths}"

    def _run(self, form: str, text: str) -> int:
        """Run code that was copied; return the number of items that it has printed."""
        environment = os.environ | {"DDBQ_API_KEY": self.key}
        folder = self.gateway.log.parent
        match form:
            case "Python":
                command = [sys.executable, "-c", text]
            case "TypeScript":
                script = folder / "copied.mjs"
                script.write_text(text, "utf-8")
                command = [ToolCache().node(), str(_beside_client(folder, script))]
            case _:
                environment["PATH"] = f"{find_tool('grpcurl').parent}:{environment['PATH']}"
                command = ["bash", "-c", text]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode != 0:
            raise SceneFailed(f"{form} ended with {done.returncode}: {done.stderr}\n{text}")
        if form in ("grpcurl", "curl"):
            return done.stdout.count('"carrier":')
        return done.stdout.count("carrier")


def _json(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    text = Path(request["json"]["path"]).read_text("utf-8")
    items: list[dict[str, Any]] = json.loads(text, parse_int=Decimal, parse_float=Decimal)
    return items


def _csv(request: Mapping[str, Any]) -> list[dict[str, str]]:
    with Path(request["csv"]["path"]).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def _compare_odd(items: list[dict[str, Any]], rows: list[dict[str, str]]) -> str:
    first = items[0]
    found = {name: first[name] for name in ("exact", "__proto__", "lines", "nothing", "nested")}
    wanted = {
        "exact": Decimal(12345678901234567890123456789012345678),
        "__proto__": "own",
        "lines": 'a\r\n"b", c',
        "nothing": None,
        "nested": {"list": [Decimal("1.5"), True], "set": ["x"]},
    }
    if found != wanted:
        return f"JSON: {found}"
    return "equal" if rows == _ODD_ROWS else f"CSV: {rows}"


def _beside_client(folder: Path, script: Path) -> Path:
    """Compile the TypeScript client, and link it where the script finds it."""
    client = folder / "client"
    if not client.exists():
        client.mkdir()
        made = compiled(client, print)
        subprocess.run([*made.tsc, "-p", "tsconfig.build.json"], cwd=client, check=True)
        (folder / "node_modules").mkdir()
        (folder / "node_modules/dynamodb-processor-client").symlink_to(client)
    return script
