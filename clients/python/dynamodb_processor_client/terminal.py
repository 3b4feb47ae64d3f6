"""The standard streams of `ddbq`, and text that is safe for a terminal."""

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
    """Return `text` with control sequences and other invisible characters as escapes.

    Text from a service or a table must not control the terminal.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def prepare_standard_streams() -> None:
    """Make the three standard streams usable, also if some are closed.

    A closed stream is replaced, so that no socket gets its number and no message goes into a
    socket. Then standard input is empty, writing to standard output fails as it does for other
    commands, and messages are dropped.
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
        if sys.stdout.isatty():  # Its encoding may lack the characters of a table's frame.
            sys.stdout.reconfigure(errors="backslashreplace")
        else:  # The encoding of JSON in every locale.
            sys.stdout.reconfigure(encoding="utf-8")


def discard_output() -> None:
    """Drop the buffered output, which the interpreter would flush again, and fail or wait again."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(null, stream.fileno())
        except (OSError, ValueError):  # It is not a file, as in a test.
            continue


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end a write that waits for its reader.

    asyncio handles a first Ctrl-C in the next iteration of its loop, which a waiting write blocks.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed in the block, or just before.
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
