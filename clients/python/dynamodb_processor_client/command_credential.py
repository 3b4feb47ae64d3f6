"""The credential that `ddbq` sends: from its options, else from the environment."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from dynamodb_processor_client.credentials import TokenProvider

API_KEY: Final = "DDBQ_API_KEY"
TOKEN: Final = "DDBQ_BEARER_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_FILE: Final = "DDBQ_BEARER_TOKEN_FILE"  # noqa: S105 - the name of a variable


def credential_of(
    arguments: argparse.Namespace, environment: Mapping[str, str]
) -> tuple[str | None, str | TokenProvider | None]:
    """Return the API key and the bearer token, at most one of which is not None.

    An option counts before the environment. Raises ValueError if two are given, or a file cannot be
    read; the text names them.
    """
    key, file = arguments.api_key, arguments.bearer_token_file
    if key and file:
        raise ValueError("give --api-key or --bearer-token-file, not both")
    if key:
        return key, None
    if file:
        return None, _TokenFile("--bearer-token-file", file)
    given = {name: environment[name] for name in _VARIABLES if environment.get(name)}
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} are set: keep one, or give an option")
    if TOKEN_FILE in given:
        return None, _TokenFile(TOKEN_FILE, given[TOKEN_FILE])
    return given.get(API_KEY), given.get(TOKEN)


_VARIABLES: Final = (API_KEY, TOKEN, TOKEN_FILE)


class _TokenFile:
    """Reads a bearer token from a file, which another program renews."""

    def __init__(self, source: str, path: str) -> None:
        """Read the file; raise ValueError, which names `source`, if that is not possible."""
        self._source = source
        self._path = Path(path)
        self._token = self._read()

    def __call__(self) -> str:
        """Return the token in the file, or the last one while the file cannot be read."""
        with suppress(ValueError):
            self._token = self._read()
        return self._token

    def _read(self) -> str:
        try:
            token = self._path.read_text("utf-8").strip()
        except OSError as error:
            reason = error.strerror or "the path is not usable"
            raise ValueError(f"{self._source}: {self._path} cannot be read: {reason}") from None
        except ValueError:  # not UTF-8, or a path that no file can have
            raise ValueError(f"{self._source}: {self._path} is no text") from None
        if not token:
            raise ValueError(f"{self._source}: {self._path} is empty")
        return token
