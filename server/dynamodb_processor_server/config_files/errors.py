"""Mistakes in files: where they stand and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dynamodb_processor_server.errors import ConfigurationError

_MAX_LISTED: Final = 100


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """One mistake in a file. Line 0 stands for the whole file, an empty field for no field."""

    file: str
    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        """Return `file:line: field: reason`, without the parts that are not known."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.field, self.reason) if part)


class ConfigFileError(ConfigurationError):
    """A file is not what it should be; its text has one line for each mistake."""

    def __init__(self, mistakes: tuple[ConfigIssue, ...]) -> None:
        lines = [str(mistake) for mistake in mistakes[:_MAX_LISTED]]
        if len(mistakes) > _MAX_LISTED:
            lines.append(f"and {len(mistakes) - _MAX_LISTED} more mistakes")
        super().__init__("\n".join(lines))
        self.mistakes = mistakes


def whole_file(path: Path, reason: str) -> ConfigFileError:
    """Return the error for a file of which no line is to blame."""
    return ConfigFileError((ConfigIssue(str(path), 0, "", reason),))
