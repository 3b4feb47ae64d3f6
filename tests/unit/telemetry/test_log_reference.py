"""The page of logs is complete: every event that the server logs, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[3]
_SERVER: Final = _ROOT / "server" / "dynamodb_processor_server"
_PAGE: Final = _ROOT / "docs" / "operations" / "metrics-and-logs.md"
_LOGGERS: Final = {"_log", "log"}
_LEVELS: Final = {"debug", "info", "warning", "error", "exception"}
# Logged with the standard logger's level, or written without a logger.
_OTHERS: Final = {"library_record", "log_lines_dropped"}


def logged(source: str) -> set[str]:
    """Return the events that a module logs: by a logger, or by one of two helpers."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name), attr=level),
                args=[ast.Constant(value=str(event)), *_],
            ) if name in _LOGGERS and level in _LEVELS:
                found.add(event)
            case ast.Call(
                func=ast.Attribute(attr="_log_change"),
                args=[_, ast.Constant(value=str(event)), *_],
            ):
                found.add(event)
            case ast.Call(
                func=ast.Name(id="RedisLog"), args=[ast.Constant(value=str(purpose)), *_]
            ):
                found |= {f"{purpose}_not_reached", f"{purpose}_reached"}
    return found


def test_every_event_is_on_the_page() -> None:
    """The first column of the tables below "Log events" names them."""
    events = _OTHERS.union(
        *(logged(file.read_text(encoding="utf-8")) for file in _SERVER.rglob("*.py"))
    )
    _, _, written = _PAGE.read_text(encoding="utf-8").partition("\n## Log events\n")
    cells = re.findall(r"^\| (`[^|]+`) \|", written, re.MULTILINE)
    assert {event for cell in cells for event in re.findall(r"\w+", cell)} == events
