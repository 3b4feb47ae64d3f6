"""Errors in configuration files, each with its file, line, field and reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dynamodb_processor_server.errors import ConfigurationError

_MAX_LISTED: Final = 100


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """One error in a file. Line 0 means the whole file, an empty field no field in particular."""

    file: str
    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        """Return `file:line: field: reason`, without the unknown parts."""
        location = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (location, self.field, self.reason) if part)


class ConfigFileError(ConfigurationError):
    """A configuration file was refused; the text has one line for each error in it."""

    def __init__(self, issues: tuple[ConfigIssue, ...]) -> None:
        lines = [str(issue) for issue in issues[:_MAX_LISTED]]
        if len(issues) > _MAX_LISTED:
            lines.append(f"and {len(issues) - _MAX_LISTED} more errors")
        super().__init__("\n".join(lines))
        self.issues = issues


def whole_file(path: Path, reason: str) -> ConfigFileError:
    """Return the error for a file as a whole, without a line."""
    return ConfigFileError((ConfigIssue(str(path), 0, "", reason),))
