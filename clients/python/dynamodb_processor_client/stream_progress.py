"""The progress line of `ddbq stream` on a terminal."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from dynamodb_processor_client.pages import PageStats


class StreamProgress(AbstractContextManager["StreamProgress"]):
    """The line that shows the progress of a stream on a terminal."""

    def __init__(self, console: Console, *, is_shown: bool) -> None:
        """Prepare the line on `console`; unless `is_shown`, nothing is written."""
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.completed:,.0f} items"),
            TextColumn("{task.fields[pages]:,} pages"),
            TextColumn("{task.fields[read_units]:,.1f} read units"),
            TextColumn("{task.fields[rate]:,.0f} items/s"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            # Otherwise rich would print everything for standard output on the terminal, instead of
            # writing it to the file or pipe.
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not is_shown,
        )
        self._task = TaskID(0)
        self._pages = 0

    def __enter__(self) -> Self:
        """Show the line."""
        self._task = self._progress.add_task("", total=None, pages=0, read_units=0.0, rate=0.0)
        self._progress.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the line."""
        self._progress.stop()

    def page(self, stats: PageStats) -> None:
        """Add a page; `stats` are those of the whole stream so far."""
        self._pages += 1
        elapsed = self._progress.tasks[0].elapsed or 0.0
        self._progress.update(
            self._task,
            completed=stats.items_returned,
            pages=self._pages,
            read_units=stats.read_units,
            rate=stats.items_returned / elapsed if elapsed else 0.0,
        )

    def pause(self) -> None:
        """Remove the line for other output on the terminal."""
        self._progress.stop()

    def go_on(self) -> None:
        """Show the line again."""
        self._progress.start()
