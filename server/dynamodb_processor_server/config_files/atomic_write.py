"""Writes files that a server may be reading at the same time."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from dynamodb_processor_server.errors import ConfigurationError


def replace_file(path: Path, text: str) -> None:
    """Write a file so that a reader sees it as it was or as it is, never in between.

    Its mode stays. Raises ConfigurationError if it cannot be written.
    """
    target = path.resolve()
    try:
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
        with tempfile.NamedTemporaryFile("wb", dir=target.parent, delete=False) as file:
            try:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), mode)
                Path(file.name).replace(target)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from None
