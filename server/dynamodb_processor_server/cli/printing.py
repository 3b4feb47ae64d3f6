"""Prints a new key once, and parses the times of commands."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO


class NotShown(Exception):
    """Standard output takes no text."""


def show(text: str, out: TextIO) -> None:
    """Print a line; raise NotShown if it cannot be printed."""
    try:
        print(text, file=out, flush=True)
    except OSError as error:
        with suppress(OSError), Path(os.devnull).open("w") as null:
            # The interpreter would fail at the same text when it ends.
            os.dup2(null.fileno(), out.fileno())
        raise NotShown(f"standard output cannot be written: {error.strerror}") from None


def future_time(text: str) -> datetime:
    """Return a point in time; a date means its first moment, no time zone means UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("this is no ISO 8601 date or time") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= datetime.now(UTC):
        raise argparse.ArgumentTypeError("this is in the past")
    return moment.replace(microsecond=0)
