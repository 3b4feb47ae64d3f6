"""Files that survive a killed process and a lost power supply, or are as they were before."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Another user's link in a shared folder must not lead the output elsewhere.
_NO_LINKS: Final = getattr(os, "O_NOFOLLOW", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0)


class Occupied(Exception):
    """Another process writes the file."""


def open_locked(path: Path) -> BinaryIO:
    """Open a file for reading and writing, which is made if it is missing, and lock it.

    The lock ends with the process. Windows has no such locks.

    Raises:
        OSError: The file cannot be opened.
        Occupied: Another process has locked it.
    """
    number = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINKS | _BINARY, 0o666)
    file = os.fdopen(number, "r+b")
    try:
        if fcntl is not None:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(number), path.stat()):
            raise BlockingIOError  # The other process has just finished, and renamed it.
    except (BlockingIOError, FileNotFoundError):
        file.close()
        raise Occupied from None
    return file


def flush_to_disk(file: BinaryIO) -> None:
    """Return when everything written into the file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def replace_with(path: Path, content: bytes) -> None:
    """Replace a file, readable by its owner alone, at once and on the disk."""
    scratch = path.with_name(f"{path.name}.new")
    number = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_LINKS | _BINARY, 0o600)
    with os.fdopen(number, "wb") as file:
        file.write(content)
        flush_to_disk(file)
    rename(scratch, path)


def rename(source: Path, target: Path) -> None:
    """Rename a file, on the disk as well; it takes the place of another one."""
    source.replace(target)
    _flush_folder(target.parent)


def remove(path: Path) -> None:
    """Remove a file that may be missing, on the disk as well."""
    path.unlink(missing_ok=True)
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    # The entries of a folder are data of their own. Windows opens no folders, and writes them.
    with suppress(PermissionError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
