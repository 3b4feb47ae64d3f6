"""What `ddbq` writes: results to standard output, in one of several forms, and notes to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

from rich.console import Console, RenderableType
from rich.text import Text

from dynamodb_processor_client.rendering import (
    fits,
    items_grid,
    json_for_terminal,
    records,
    to_json,
)
from dynamodb_processor_client.terminal import interruptible, printable
from dynamodb_processor_client.values import Item

Form: TypeAlias = Literal["table", "vertical", "jsonl", "json"]
"""How results are written: for people with columns or a line for each attribute, or as JSON."""


class OutputFailed(Exception):
    """Standard output takes no more; the text says why."""


class Output:
    """Writes the results of one command. `is_for_people` says that no program reads them."""

    def __init__(self, form: Form | None) -> None:
        """Write in this form; `None` is for people on a terminal, and for programs elsewhere."""
        self._on_terminal = sys.stdout.isatty()
        self._form = form or ("table" if self._on_terminal else "jsonl")
        self.is_for_people = self._form in ("table", "vertical")
        self._is_vertical = self._form == "vertical"
        self._count = 0

    def items(self, items: Sequence[Item | None], projection: Sequence[str] = ()) -> None:
        """Write items; a `None` is shown to programs alone, for a key that has no item.

        Items that come in several calls are one result, which `end` completes.
        """
        with interruptible():
            self._items(items, projection)

    def end(self) -> None:
        """Complete the items. A JSON document that lacks this is not whole, and not valid."""
        if self._form == "json":
            self._write("\n]\n" if self._count else "[]\n")
            flush()

    def value(self, fields: object, shown: RenderableType) -> None:
        """Write one object: `fields` for programs, or what is `shown` to people."""
        if self.is_for_people:
            self._print(shown)
        else:
            self._write(to_json(fields) + "\n")
            flush()

    def rows(self, rows: Sequence[Mapping[str, object]], shown: RenderableType) -> None:
        """Write rows: one object each for programs, or what is `shown` to people."""
        if self.is_for_people:
            self._print(shown)
            return
        self.items([dict(row) for row in rows])
        self.end()

    def _items(self, items: Sequence[Item | None], projection: Sequence[str]) -> None:
        if self.is_for_people:
            found = [item for item in items if item is not None]
            if found:
                self._print(self._for_people(found, projection))
            self._count += len(found)
            return
        separator = ",\n" if self._form == "json" else "\n"
        for item in items:
            opening = "[\n" if self._form == "json" and not self._count else ""
            before = separator if self._form == "json" and self._count else ""
            after = "" if self._form == "json" else separator
            self._write(f"{opening}{before}{to_json(item)}{after}")
            self._count += 1
        flush()

    def _for_people(self, items: Sequence[Item], projection: Sequence[str]) -> RenderableType:
        grid = items_grid(items, projection)
        # One form for all pages, whatever the later ones hold.
        if not self._count and self._on_terminal and not fits(grid, self._console()):
            self._is_vertical = True
        # Without attributes there are no columns, and a grid shows nothing of how many items.
        is_vertical = self._is_vertical or not grid.columns
        return records(items, projection, self._count) if is_vertical else grid

    def _console(self) -> Console:
        # The file of a pager or an editor is as wide as its lines.
        width = None if self._on_terminal else 100_000
        return Console(width=width, force_terminal=self._on_terminal, emoji=False, markup=False)

    def _print(self, shown: RenderableType) -> None:
        console = self._console()
        with console.capture() as captured:
            console.print(shown, soft_wrap=isinstance(shown, Text))
        self._write(captured.get(), is_rendered=True)
        flush()

    def _write(self, text: str, *, is_rendered: bool = False) -> None:
        if self._on_terminal and not is_rendered:
            text = json_for_terminal(text)
        with _typed_failures(), interruptible():
            sys.stdout.write(text)


def flush() -> None:
    """Write out what is buffered.

    Raises:
        BrokenPipeError: The reader of the output went away.
        OutputFailed: It cannot be written.
    """
    with _typed_failures(), interruptible():
        sys.stdout.flush()


@contextmanager
def _typed_failures() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(str(error.strerror)) from error


def note(text: str) -> None:
    """Write one line for people to stderr; what is no text in it is written as escapes."""
    print(printable(text), file=sys.stderr, flush=True)  # noqa: T201 - what it is for


def clauses(message: str) -> list[str]:
    """Return a long message of several clauses as lines, where a person reads it on a terminal."""
    text = " ".join(message.split())
    if not sys.stderr.isatty() or len(text) <= _LONG:
        return [text]
    first, *others = text.split("; ")
    return [first, *(f"  {clause}" for clause in others)]


_LONG = 100  # characters
