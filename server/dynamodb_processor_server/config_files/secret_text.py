"""The text of a secret at one moment, whatever it was read from."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from dynamodb_processor_server.config_files.document import ConfigDocument
from dynamodb_processor_server.config_files.errors import ConfigFileError, ConfigIssue

T = TypeVar("T")

# A plain digest in the log would let its readers try passwords: this one differs by process.
_DIGEST_KEY: Final = secrets.token_bytes(32)


@dataclass(frozen=True, slots=True)
class SecretText:
    """A secret without the white space around it, which editors and `echo` add.

    Attributes:
        setting: The setting that names the source.
        source: The path of a file or the name of a secret; empty if the setting has the text.
        text: The secret.
    """

    setting: str
    source: str
    text: str = field(repr=False)

    @classmethod
    def of(cls, setting: str, source: str, content: bytes) -> SecretText:
        """Return the secret in `content`. Raises ConfigFileError if it is empty or no UTF-8."""
        try:
            text = content.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise _error(setting, source, "is no UTF-8 text") from None
        if not text:
            raise _error(setting, source, "is empty")
        return cls(setting, source, text)

    @classmethod
    def read(cls, setting: str, path: Path) -> SecretText:
        """Return the secret in a file. Raises ConfigFileError."""
        try:
            content = ConfigDocument.read(path).content
        except ConfigFileError as error:
            reason = f"{error.issues[0].reason}; give a file that the server's user can read"
            raise _error(setting, str(path), reason) from None
        return cls.of(setting, str(path), content)

    @property
    def version(self) -> str:
        """A digest that tells two texts apart in this process, and nothing outside of it."""
        return hmac.digest(_DIGEST_KEY, self.text.encode(), "sha256").hex()

    def error(self, reason: str) -> ConfigFileError:
        """Return the error for the secret, which does not show it."""
        return _error(self.setting, self.source, reason)

    def parse(self, parse: Callable[[str], T]) -> T:
        """Return what `parse` makes of the text; it raises ValueError with the reason.

        Raises ConfigFileError.
        """
        try:
            return parse(self.text)
        except ValueError as error:
            raise self.error(str(error)) from None


def _error(setting: str, source: str, reason: str) -> ConfigFileError:
    return ConfigFileError((ConfigIssue(source, 0, setting, reason),))
