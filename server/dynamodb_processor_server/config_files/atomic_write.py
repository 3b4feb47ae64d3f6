"""Replaces a file atomically, for files that a server may be reading at the same time."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dynamodb_processor_server.errors import ConfigurationError


def replace_file(
    path: Path,
    text: str,
    before_replacing: Callable[[], None] = lambda: None,
    new_mode: int = 0o644,
) -> None:
    """Write `text` to a file so that a reader sees the old or the new content, never a mixture.

    The file keeps its mode and, where this user may give it away, its owner and group: the server
    may read it as one of a group. A new file gets `new_mode`. `before_replacing` runs when the new
    content is on the disk; the file stays as it is if that raises, which must not be an OSError.
    Raises ConfigurationError if the file cannot be written.
    """
    target = path.resolve()
    try:
        earlier = target.stat() if target.exists() else None
        mode = new_mode if earlier is None else stat.S_IMODE(earlier.st_mode)
        with tempfile.NamedTemporaryFile("wb", dir=target.parent, delete=False) as file:
            try:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
                if earlier is not None:
                    with suppress(PermissionError):
                        os.fchown(file.fileno(), earlier.st_uid, earlier.st_gid)
                os.fchmod(file.fileno(), mode)
                before_replacing()
                Path(file.name).replace(target)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from None
