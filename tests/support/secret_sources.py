"""Sources of secrets that a test changes: a file, and a secret of Secrets Manager."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.support.secrets_manager import SecretsManagerServer


class Source(Protocol):
    """A source of `token_keys` or `redis_url` that a test changes."""

    @property
    def name(self) -> str:
        """The path, the name or the ARN."""
        ...

    def settings(self) -> dict[str, Any]:
        """Return the settings that name it."""
        ...

    def write(self, content: bytes) -> None:
        """Replace the content."""
        ...

    def remove(self) -> None:
        """Make the content unreadable."""
        ...

    def restore(self) -> None:
        """Undo that."""
        ...


@dataclass
class FileSource:
    """A file."""

    setting: str
    path: Path

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def settings(self) -> dict[str, Any]:
        """Return the settings that name it."""
        return {f"{self.setting}_file": self.path}

    def write(self, content: bytes) -> None:
        """Replace the content."""
        self.path.write_bytes(content)

    def remove(self) -> None:
        """Rename the file."""
        self.path.rename(self.path.with_suffix(".away"))

    def restore(self) -> None:
        """Rename it back."""
        self.path.with_suffix(".away").rename(self.path)


@dataclass
class StoredSource:
    """A secret of Secrets Manager."""

    setting: str
    name: str
    server: SecretsManagerServer

    def settings(self) -> dict[str, Any]:
        """Return the settings that name it."""
        return {f"{self.setting}_secret": self.name}

    def write(self, content: bytes) -> None:
        """Put a new version, as text where it can be one."""
        try:
            self.server.put(self.name, content.decode() or "\n")  # moto takes no empty text
        except UnicodeDecodeError:
            self.server.put(self.name, content)

    def remove(self) -> None:
        """Mark it for deletion."""
        self.server.delete(self.name)

    def restore(self) -> None:
        """Restore it."""
        self.server.restore(self.name)
