"""The demo's output on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.padding import Padding

from dynamodb_processor_client import CacheInfo, Item, PageStats
from dynamodb_processor_client.rendering import items_grid

_WIDTH_OF_FILES: Final = 110


class _Console(Console):
    """A console that leaves a closed pipe to the command, which ends quietly."""

    def on_broken_pipe(self) -> None:
        """Raise the error again; rich would end the process with another exit code."""
        raise BrokenPipeError


class Screen:
    """A terminal, or a file for people; command lines are never wrapped."""

    def __init__(self, console: Console | None = None) -> None:
        """Write on standard output, or on another console."""
        width = None if sys.stdout.isatty() else _WIDTH_OF_FILES
        self._console = console or _Console(width=width, highlight=False, markup=False, emoji=False)

    def say(self, text: str = "") -> None:
        """Write a line of the demo's own."""
        self._line(text)

    def title(self, text: str) -> None:
        """Begin a step."""
        self._line()
        self._line(text, "bold")

    def call(self, python: str) -> None:
        """Show the Python code of a call."""
        self._line(f"  {python}", "cyan")

    def items(self, items: Sequence[Item], columns: Sequence[str]) -> None:
        """Show the given attributes of items."""
        rows = [{name: item[name] for name in columns if name in item} for item in items]
        self._console.print(Padding(items_grid(rows, columns), (0, 0, 0, 2), expand=False))

    def stats(self, stats: PageStats, cache: CacheInfo, seconds: float) -> None:
        """Show the cost of an answer."""
        self.note(
            f"{stats.items_returned} items of {stats.items_scanned} read, "
            f"read units {stats.read_units:g}, cache {cache.status.name}, "
            f"index {stats.index_used or '@table'}, {seconds * 1_000:.1f} ms"
        )

    def note(self, text: str) -> None:
        """Write a remark on a result."""
        self._line(f"  {text}", "green")

    def refusal(self, words: str) -> None:
        """Show an error of the service."""
        self._line(f"  {words}", "yellow")

    def command(self, line: str) -> None:
        """Show a command line on its own line, for copying."""
        self._line(line, "dim")

    def _line(self, text: str = "", style: str = "") -> None:
        self._console.print(text, style=style, soft_wrap=True)
