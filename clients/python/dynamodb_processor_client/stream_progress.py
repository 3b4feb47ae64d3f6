"""The progress line of `ddbq stream` on a terminal."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from dynamodb_processor_client.pages import PageStats


def _left(completed: int, expected: int | None, rate: float) -> str:
    if expected is None or not rate:
        return ""
    seconds = math.ceil(max(expected - completed, 0) / rate)
    return f"of {expected:,}, about {timedelta(seconds=seconds)} left"


class StreamProgress(AbstractContextManager["StreamProgress"]):
    """The line that shows the progress of a stream on a terminal."""

    def __init__(self, console: Console, *, is_shown: bool) -> None:
        """Prepare the line on `console`; unless `is_shown`, nothing is written."""
        self.is_shown = is_shown
        self._expected: int | None = None
        self._earlier = 0
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.completed:,.0f} items"),
            TextColumn("{task.fields[pages]:,} pages"),
            TextColumn("{task.fields[read_units]:,.1f} read units"),
            TextColumn("{task.fields[rate]:,.0f} items/s"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
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
        self._task = self._progress.add_task(
            "", total=None, pages=0, read_units=0.0, rate=0.0, left=""
        )
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
        rate = stats.items_returned / elapsed if elapsed else 0.0
        completed = self._earlier + stats.items_returned
        self._progress.update(
            self._task,
            completed=completed,
            pages=self._pages,
            read_units=stats.read_units,
            rate=rate,
            left=_left(completed, self._expected, rate),
        )

    def resumed(self, items: int) -> None:
        """Count the items of an earlier command, whose work this one continues."""
        self._earlier = items

    def expect(self, items: int) -> None:
        """Show the time left, for this number of items altogether."""
        self._expected = items

    def pause(self) -> None:
        """Remove the line for other output on the terminal."""
        self._progress.stop()

    def go_on(self) -> None:
        """Show the line again."""
        self._progress.start()
