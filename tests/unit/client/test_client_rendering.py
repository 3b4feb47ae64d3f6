"""Tests that the output of `ddbq` is exact for programs, and safe for terminals."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from dynamodb_processor_client import PageStats
from dynamodb_processor_client.rendering import items_grid, rows_grid, to_json
from dynamodb_processor_client.stream_progress import StreamProgress


def _shown(grid: Any, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(grid)
    return captured.get()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1." + "2" * 37), "1." + "2" * 37),
        (Decimal("1E+120"), "1E+120"),
        (b"\x00\xff", '"AP8="'),
        ({"b", "a"}, '["a", "b"]'),
        ({Decimal(10), Decimal(9)}, "[9, 10]"),
        ({b"b", b"a"}, '["YQ==", "Yg=="]'),
        (None, "null"),
        (True, "true"),
        ([Decimal(1), [None]], "[1, [null]]"),
        ({"a": {"b": []}}, '{"a": {"b": []}}'),
        ('ü"\n', '"ü\\"\\n"'),
    ],
)
def test_json_is_exact(value: object, text: str) -> None:
    """Every value is one line of valid JSON, and numbers keep all their digits."""
    assert to_json(value) == text
    json.loads(text)


def test_items_as_a_table() -> None:
    """Columns are attributes by name; a missing attribute is an empty cell."""
    shown = _shown(items_grid([{"b": Decimal(1), "a": "x"}, {"c": {"d": None}}]))
    header, first, second = (line for line in shown.splitlines() if any(map(str.isalnum, line)))
    assert header.replace("┃", " ").split() == ["a", "b", "c"]
    assert first.replace("│", " ").split() == ["x", "1"]
    assert '{"d": null}' in second


def test_projected_attributes_keep_their_order() -> None:
    """Projected columns keep the order of the projection."""
    shown = _shown(items_grid([{"a": "1", "b": "2", "c": "3"}], ["c", "a"]))
    assert shown.splitlines()[1].replace("┃", " ").split() == ["c", "a", "b"]


def test_no_items_make_an_empty_table() -> None:
    """A page without items is not an error."""
    assert _shown(items_grid([])).strip() == ""


def test_stored_text_cannot_control_the_terminal() -> None:
    """Control sequences and rich's own markup are shown, not executed."""
    shown = _shown(items_grid([{"a\x1b[2J": "\x1b]0;owned\x07[red]x[/red]\r\n"}]))
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\\x1b[2J" in shown
    assert "[red]x[/red]\\r\\n" in shown
    assert "\x1b" not in _shown(rows_grid(("table",), [("\x1b[2J",)]))


def test_the_progress_line_counts() -> None:
    """On a terminal the line has items, pages, read units and the rate."""
    output = io.StringIO()
    console = Console(file=output, width=120, force_terminal=True, color_system=None)
    with StreamProgress(console, is_shown=True) as progress:
        progress.page(PageStats(items_returned=1_200, read_units=3.5))
        progress.page(PageStats(items_returned=2_400, read_units=7.0))
    shown = output.getvalue()
    assert "2,400 items" in shown
    assert "2 pages" in shown
    assert "7.0 read units" in shown
    assert "items/s" in shown


def test_no_progress_line_outside_a_terminal() -> None:
    """A file or pipe gets no progress line."""
    output = io.StringIO()
    with StreamProgress(Console(file=output), is_shown=False) as progress:
        progress.page(PageStats(items_returned=1))
        progress.pause()
        progress.go_on()
    assert output.getvalue() == ""
