"""The output of `ddbq`: results on standard output in one of six forms, notes on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.text import Text

from dynamodb_processor_client.destinations import Columns, Form
from dynamodb_processor_client.exports.text_forms import selected, text_form
from dynamodb_processor_client.rendering import (
    fits,
    items_grid,
    json_for_terminal,
    records,
    to_json,
)
from dynamodb_processor_client.terminal import interruptible, printable
from dynamodb_processor_client.values import Item

if TYPE_CHECKING:
    from dynamodb_processor_client.exports.spooled_output import SpooledOutput


class OutputFailed(Exception):
    """Standard output cannot be written; the text is the reason."""


class Output:
    """Writes the results of one command; `is_for_people` tells whether the form is for people."""

    def __init__(
        self,
        form: Form | None,
        *,
        columns: Columns = None,
        leading: Sequence[str] = (),
    ) -> None:
        """Choose the form, and the attributes of items.

        Args:
            form: The form; None for a table on a terminal, and JSON lines elsewhere.
            columns: The attributes of items, in their order; None for all.
            leading: The attributes that come first in tables, if `columns` is None.
        """
        self._on_terminal = sys.stdout.isatty()
        self._form = form or ("table" if self._on_terminal else "jsonl")
        self.is_for_people = self._form in ("table", "vertical")
        self._is_vertical = self._form == "vertical"
        self._columns = columns
        self._leading = leading if columns is None else columns
        self._count = 0
        self._has_started = False
        self._text = text_form(self._form, columns)
        self._spool: SpooledOutput | None = None
        if self._text is None and not self.is_for_people:
            self._spool = _spool(self._form, columns, leading)

    def items(self, items: Sequence[Item | None]) -> None:
        """Write items. `None` stands for a key without an item; only JSON shows it.

        The items of several calls are one result, which `end` completes.
        """
        with interruptible():
            self._items(items)

    def end(self) -> None:
        """Complete the items. Without it a JSON document is incomplete, and not valid.

        CSV whose columns are not given, and Parquet, are written here.
        """
        if self._spool is not None:
            flush()
            with _typed_failures(), interruptible():
                self._spool.write(sys.stdout.buffer)
                sys.stdout.buffer.flush()
        elif self._text is not None:
            self._start()
            self._write(self._text.end(self._count))
            flush()

    def value(self, fields: object, shown: RenderableType) -> None:
        """Write one object: `fields` as JSON, or `shown` in a form for people."""
        if self.is_for_people:
            self._print(shown)
        else:
            self._write(to_json(fields) + "\n")
            flush()

    def rows(self, rows: Sequence[Mapping[str, object]], shown: RenderableType) -> None:
        """Write rows: each as a JSON object, or `shown` in a form for people."""
        if self.is_for_people:
            self._print(shown)
            return
        self.items([dict(row) for row in rows])
        self.end()

    def _items(self, items: Sequence[Item | None]) -> None:
        if self._text is not None:
            self._start()
            for item in items:
                self._write(self._text.items([item], self._count))
                self._count += 1
            flush()
            return
        found = [one for item in items if (one := selected(item, self._columns)) is not None]
        if self._spool is not None:
            with _typed_failures():  # It may have a file, and the disk may be full.
                self._spool.add(found)
        elif found:
            self._print(self._for_people(found))
            self._count += len(found)

    def _start(self) -> None:
        if self._text is not None and not self._has_started:
            self._has_started = True
            self._write(self._text.start())

    def _for_people(self, items: Sequence[Item]) -> RenderableType:
        grid = items_grid(items, self._leading)
        # The first page decides the form of all pages.
        if not self._count and self._on_terminal and not fits(grid, self._console()):
            self._is_vertical = True
        # Without attributes a grid has no columns, and does not show the number of items.
        is_vertical = self._is_vertical or not grid.columns
        return records(items, self._leading, self._count) if is_vertical else grid

    def _console(self) -> Console:
        # Lines in a file are not wrapped: a pager or an editor has its own width.
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


def _spool(form: Form, columns: Columns, leading: Sequence[str]) -> SpooledOutput:
    from dynamodb_processor_client.exports.spooled_output import SpooledOutput

    return SpooledOutput(form, columns, leading)


def flush() -> None:
    """Write the buffered output.

    Raises:
        BrokenPipeError: The reader of the output closed the pipe.
        OutputFailed: The output cannot be written.
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
    """Write one line for people to stderr; unprintable characters become escapes."""
    print(printable(text), file=sys.stderr, flush=True)  # noqa: T201 - its purpose


def clauses(message: str) -> list[str]:
    """Split a long message into one line for each clause, if stderr is a terminal."""
    text = " ".join(message.split())
    if not sys.stderr.isatty() or len(text) <= _LONG:
        return [text]
    first, *others = text.split("; ")
    return [first, *(f"  {clause}" for clause in others)]


_LONG = 100  # characters
