"""Tests of the demo's output."""

from __future__ import annotations

import io

from rich.console import Console

from dynamodb_processor_server.demo.screen import Screen


def test_command_lines_are_never_broken() -> None:
    """A line longer than the terminal is wide can still be copied completely."""
    file = io.StringIO()
    screen = Screen(Console(file=file, width=40, highlight=False, markup=False, emoji=False))
    line = "grpcurl -d '[bold]:smile:' " + "word " * 40 + "end"
    screen.command(line)
    assert file.getvalue() == f"{line}\n"


def test_items_are_shown_with_the_attributes_asked_for() -> None:
    """An attribute that an item does not have leaves its cell empty."""
    file = io.StringIO()
    screen = Screen(Console(file=file, width=80))
    screen.items([{"a": "1", "b": {"x"}, "c": "hidden"}, {"a": "2"}], ("b", "a"))
    assert "hidden" not in file.getvalue()
    assert '["x"]' in file.getvalue()
