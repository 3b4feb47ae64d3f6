"""Credentials that commands print, such as those of password managers."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Final

_SECONDS: Final = 60.0  # for a command, which may ask the user for a password
_KEPT: Final = 60.0  # seconds for which a token without a time of expiry is kept
_EARLY: Final = 30.0  # seconds before its expiry at which a token is renewed


def printed_secret(source: str, command: Sequence[str]) -> str:
    """Run a command without a shell, and return the line that it prints.

    The command has the standard input and the stderr of `ddbq`.

    Raises:
        ValueError: It fails or prints no line. The text names `source`, and nothing of the output.
    """
    name = command[0]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=_SECONDS, check=False)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no program has this name"
        raise ValueError(f"{source}: {name} cannot be started: {reason}") from None
    except subprocess.TimeoutExpired:
        raise ValueError(f"{source}: {name} has not ended in {_SECONDS:g} s") from None
    if done.returncode:
        raise ValueError(f"{source}: {name} ended with the exit code {done.returncode}")
    try:
        secret = done.stdout.decode("ascii").strip()
    except UnicodeDecodeError:
        secret = ""
    if not secret.isprintable() or not secret:
        raise ValueError(f"{source}: {name} has not printed one line of text")
    return secret


class TokenCommand:
    """Gives the bearer token that a command prints, and runs it again before the token expires."""

    def __init__(
        self, source: str, command: Sequence[str], *, clock: Callable[[], float] = time.time
    ) -> None:
        """Run the command; raise ValueError if it fails. `clock` returns the seconds of Unix."""
        self._source = source
        self._command = command
        self._clock = clock
        self._token = ""
        self._renew_at = 0.0
        self._run()

    async def __call__(self) -> str:
        """Return a token; the last one if the command fails, which the service may refuse."""
        if self._clock() >= self._renew_at:
            try:
                await asyncio.to_thread(self._run)
            except ValueError:
                self._renew_at = self._clock() + _EARLY
        return self._token

    def _run(self) -> None:
        token = printed_secret(self._source, self._command)
        now = self._clock()
        expiry = _expiry(token)
        self._token = token
        # A token that is about to expire is not requested before each call.
        self._renew_at = now + _KEPT if expiry is None else max(expiry - _EARLY, now + 1)


def _expiry(token: str) -> float | None:
    """Return the time in the claim `exp` of a JSON Web Token; None for other tokens.

    The signature is for the service to verify.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        expiry = claims["exp"]
    except (ValueError, TypeError, KeyError):
        return None
    return float(expiry) if isinstance(expiry, int | float) else None
