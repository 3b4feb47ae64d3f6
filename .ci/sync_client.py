"""Writes the synchronous client from the asynchronous one; with --check, compares instead.

Run by `.ci/generate`, which provides `unasyncd`. A module is rewritten if it waits, or imports one
that is rewritten; the others serve both clients. `sync/transport.py` is written by hand.
The script fails if a result still speaks of waiting: then a text needs an entry in `_TEXTS`, or a
piece of code a function in the two transports.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from unasyncd.transformers import TreeTransformer

_ROOT: Final = Path(__file__).resolve().parent.parent
_PACKAGE: Final = "dynamodb_processor_client"
_SOURCES: Final = _ROOT / "clients" / "python" / _PACKAGE
_TARGET: Final = _SOURCES / "sync"
_BY_HAND: Final = "transport"
_ENTRY: Final = "__init__"

_IMPORTED: Final = re.compile(rf"\b{_PACKAGE}(?:\.| import )(\w+)")
_LAZY: Final = re.compile(r'^    "(\w+)": \(', re.MULTILINE)
_WAITING_NAME: Final = re.compile("Awaitable|Async[A-Z]|asyncio")
_LEFT_OVER: Final = re.compile(
    r"\bawait|async|\baclos|\banext\b|event loop|Awaitable", re.IGNORECASE
)

# Names beside those that unasyncd knows.
_NAMES: Final = {"aclose": "close", "aclosing": "closing"}
# Words that differ. Each has to occur, so that none outlives its text.
_TEXTS: Final = {
    "The asynchronous Python client of the DynamoDB Processor.": (
        "The synchronous Python client of the DynamoDB Processor, with the names of the other one."
    ),
    "Many tasks can use it at once, on the event loop that it was opened on.": (
        "Many threads can use it at once. A stream belongs to one thread; any may close it."
    ),
    # The line break is the source's.
    "a cancelled wait\n    for a page (`asyncio.wait_for`), iteration": (
        "an interrupted\n    wait for a page (Ctrl-C), iteration"
    ),
    "that returns it (at once or as an awaitable). The function is called": (
        "that returns it. The function is called"
    ),
    "# by another thread or task, while": "# by another thread, while",
}
_HEADER: Final = (
    "# Written by `make proto` from the asynchronous client's `{name}.py`. Do not edit.\n"
)


def main() -> int:
    """Write the modules, or compare them; return 0, or 1 if they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    arguments = parser.parse_args()
    sources = {name: path.read_text("utf-8") for name, path in _modules()}
    names = rewritten(sources)
    unused = [text for text in _TEXTS if not any(text in sources[name] for name in names)]
    if unused:
        sys.exit(f"{Path(__file__).name}: no module has the text {unused[0]!r} any more")
    results = {f"{name}.py": _render(name, sources[name], names) for name in sorted(names)}
    if arguments.check:
        return _compare(results)
    for stale in {path.name for path in _TARGET.glob("*.py")} - {*results, f"{_BY_HAND}.py"}:
        (_TARGET / stale).unlink()
    for file, text in results.items():
        (_TARGET / file).write_text(text, "utf-8")
    return 0


def rewritten(sources: dict[str, str]) -> set[str]:
    """Return the names of the modules that are not the same in both clients, except transports."""
    reachable, pending = {_ENTRY}, [*_LAZY.findall(sources[_ENTRY])]
    while pending:
        name = pending.pop()
        if name in sources and name not in reachable:
            reachable.add(name)
            pending += _IMPORTED.findall(sources[name])
    names = {name for name in reachable if _waits(sources[name])} | {_BY_HAND, _ENTRY}
    while True:
        more = {name for name in reachable - names if names & {*_IMPORTED.findall(sources[name])}}
        if not more:
            return names - {_BY_HAND}
        names |= more


def rewrite(name: str, source: str, names: set[str]) -> str:
    """Return the synchronous form of a module, not yet formatted.

    Raises:
        ValueError: The result still speaks of waiting.
    """
    for text, replacement in _TEXTS.items():
        source = source.replace(text, replacement)
    # A comment that allows what only asynchronous code can do wrong.
    result = re.sub(r"  # noqa: ASYNC\d+\b.*", "", source)
    if _waits(source):
        result = TreeTransformer(extra_name_replacements=_NAMES)(result)
    result = re.sub(r"\basync (with|for)\b", r"\1", result)  # in messages and comments
    modules = "|".join(sorted({*names, _BY_HAND} - {_ENTRY}))
    result = re.sub(rf"\b{_PACKAGE}\.({modules})\b", rf"{_PACKAGE}.sync.\1", result)
    result = re.sub(rf"\b{_PACKAGE} import ({modules})\b", rf"{_PACKAGE}.sync import \1", result)
    if name == _ENTRY:
        result = re.sub(rf'^    "({modules})": \(', r'    "sync.\1": (', result, flags=re.MULTILINE)
    result = _ruff(name, result, "check", "--fix-only", "--select", "F401,I,PYI016,UP034,W")
    for number, line in enumerate(result.splitlines(), start=1):
        if _LEFT_OVER.search(line):
            raise ValueError(f"sync/{name}.py:{number}: still speaks of waiting: {line.strip()}")
    return result


def _render(name: str, source: str, names: set[str]) -> str:
    try:
        text = rewrite(name, source, names)
    except ValueError as error:
        sys.exit(f"{error}; see {Path(__file__).name}")
    return _ruff(name, f"{_HEADER.format(name=name)}{text}", "format")


def _waits(source: str) -> bool:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            return True
        name = node.id if isinstance(node, ast.Name) else getattr(node, "name", None)
        if isinstance(name, str) and _WAITING_NAME.match(name):
            return True
    return False


def _modules() -> Iterator[tuple[str, Path]]:
    return ((path.stem, path) for path in sorted(_SOURCES.glob("*.py")))


def _ruff(name: str, text: str, *command: str) -> str:
    arguments = [sys.executable, "-m", "ruff", *command, "--quiet", "--no-cache"]
    arguments += ["--stdin-filename", str(_TARGET / f"{name}.py"), "-"]
    done = subprocess.run(
        arguments, input=text, capture_output=True, text=True, cwd=_ROOT, check=False
    )
    if done.returncode != 0:
        raise ValueError(f"sync/{name}.py: {done.stderr.strip()}")
    return done.stdout


def _compare(results: dict[str, str]) -> int:
    found = {path.name: path.read_text("utf-8") for path in _TARGET.glob("*.py")}
    found.pop(f"{_BY_HAND}.py", None)
    differences = [
        line
        for file in sorted({*results, *found})
        for line in difflib.unified_diff(
            found.get(file, "").splitlines(),
            results.get(file, "").splitlines(),
            f"sync/{file}",
            f"sync/{file} as it would be written",
            lineterm="",
        )
    ]
    if differences:
        print("\n".join(differences[:60]))
        print("the synchronous client is not what the asynchronous one makes: run make proto")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
