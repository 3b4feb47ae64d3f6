"""Standard streams and terminals: which there are, and what may be written to them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper


def printable(text: str) -> str:
    """Return `text` with control sequences and other invisible characters written as escapes.

    What a service or a table holds is not to be trusted with a terminal.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def prepare_standard_streams() -> None:
    """Make the three standard streams usable, whatever the command was started with.

    A closed one is replaced, so that no socket gets its number and no message goes astray: reading
    finds nothing, writing to standard output fails as it does for other commands, and messages are
    dropped.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper):
        if sys.stdout.isatty():  # It may know fewer characters than a table's frame has.
            sys.stdout.reconfigure(errors="backslashreplace")
        else:  # As JSON has to be, whatever the locale.
            sys.stdout.reconfigure(encoding="utf-8")


def discard_output() -> None:
    """Drop what is buffered: it would fail, or wait, again when the interpreter flushes it."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(null, stream.fileno())
        except (OSError, ValueError):  # It is no file, as under a test.
            continue


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end writing that waits for its reader.

    asyncio keeps a first Ctrl-C for the loop's next turn, which does not come while a write waits.

    Raises:
        KeyboardInterrupt: Ctrl-C came, now or just before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN or before is None:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if _is_cancelled():
            raise KeyboardInterrupt
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _is_cancelled() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # No loop runs.
        return False
    return task is not None and task.cancelling() > 0
