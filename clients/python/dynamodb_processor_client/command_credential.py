"""The credential that `ddbq` sends: from its options, its profile, or the environment."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dynamodb_processor_client.transport import TokenProvider

if TYPE_CHECKING:
    from dynamodb_processor_client.profiles import Profile

API_KEY: Final = "DDBQ_API_KEY"
TOKEN: Final = "DDBQ_BEARER_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_FILE: Final = "DDBQ_BEARER_TOKEN_FILE"  # noqa: S105 - the name of a variable

Credential = tuple[str | None, str | TokenProvider | None]
"""The API key and the bearer token, at most one of which is not None."""


def credential_of(
    arguments: argparse.Namespace,
    environment: Mapping[str, str],
    profile: Profile | None = None,
) -> Credential:
    """Return the credential.

    An option counts before the profile, and a profile takes the place of the environment: the key
    of one deployment must not go to another. Raises ValueError if two are given, a file cannot be
    read, or a command fails; the text names them.
    """
    key, file = arguments.api_key, arguments.bearer_token_file
    if key and file:
        raise ValueError("give --api-key or --bearer-token-file, not both")
    if key:
        return key, None
    if file:
        return None, TokenFile("--bearer-token-file", file)
    if profile is not None:
        return _of_profile(profile)
    given = {name: environment[name] for name in _VARIABLES if environment.get(name)}
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} are set: keep one, or give an option")
    if TOKEN_FILE in given:
        return None, TokenFile(TOKEN_FILE, given[TOKEN_FILE])
    return given.get(API_KEY), given.get(TOKEN)


_VARIABLES: Final = (API_KEY, TOKEN, TOKEN_FILE)


def _of_profile(profile: Profile) -> Credential:
    from dynamodb_processor_client.credential_commands import TokenCommand, printed_secret
    from dynamodb_processor_client.profiles import check_private

    source = f"profile {profile.name}: {profile.source}"
    match profile.source:
        case "api_key_file":
            check_private(source, Path(profile.file))
            return _secret_in(source, Path(profile.file)), None
        case "bearer_token_file":
            check_private(source, Path(profile.file))
            return None, TokenFile(source, profile.file)
        case "api_key_command":
            return printed_secret(source, profile.command), None
        case "bearer_token_command":
            return None, TokenCommand(source, profile.command)
    return None, None


class TokenFile:
    """Reads a bearer token from a file, which another program renews."""

    def __init__(self, source: str, path: str) -> None:
        """Read the file; raise ValueError, which names `source`, if that is not possible."""
        self._source = source
        self._path = Path(path)
        self._token = _secret_in(source, self._path)

    def __call__(self) -> str:
        """Return the token in the file, or the last one while the file cannot be read."""
        with suppress(ValueError):
            self._token = _secret_in(self._source, self._path)
        return self._token


def _secret_in(source: str, path: Path) -> str:
    try:
        secret = path.read_text("utf-8").strip()
    except OSError as error:
        reason = error.strerror or "the path is not usable"
        raise ValueError(f"{source}: {path} cannot be read: {reason}") from None
    except ValueError:  # not UTF-8, or a path that no file can have
        raise ValueError(f"{source}: {path} is no text") from None
    if not secret:
        raise ValueError(f"{source}: {path} is empty")
    return secret
