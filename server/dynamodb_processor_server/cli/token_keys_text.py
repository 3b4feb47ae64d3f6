"""Rotates the keys in a text of the setting `token_keys`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from math import ceil, isfinite
from typing import Final

from dynamodb_processor_server.cli.token_key import new_token_key
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.setting_types import token_key_ring

# Seconds by which the clocks of replicas may differ: keys are kept for so much longer.
_CLOCK_SKEW: Final = 300.0


@dataclass(frozen=True, slots=True)
class RotatedKeys:
    """The rotated keys.

    Attributes:
        text: The new text of `token_keys`.
        added: The id of the new key, which is the first.
        encrypts_from: When that begins to encrypt, in seconds since the epoch; None for at once.
        kept: The ids of the earlier keys that stay.
        removed: The ids of the earlier keys whose tokens have all expired.
    """

    text: str = field(repr=False)
    added: str
    encrypts_from: float | None
    kept: tuple[str, ...]
    removed: tuple[str, ...]


def rotated_token_keys(
    text: str, key_id: str | None, now: float, delay: float, lifetime: float
) -> RotatedKeys:
    """Return the keys in `text` with a new one in front.

    Args:
        text: The present keys; empty for none.
        key_id: The id of the new key; None for today's date, with a number if that is taken.
        now: Seconds since the epoch.
        delay: Seconds until the new key encrypts, in which every replica has to read it.
        lifetime: Seconds for which page tokens are valid.

    Raises:
        ConfigurationError: The new key of an earlier rotation does not encrypt yet, the id is
            taken, or the text has a wrong entry.
    """
    try:
        keys = token_key_ring(text) if text else ()
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    if keys and keys[0].encrypts_from > now:
        raise ConfigurationError(
            f"the key {keys[0].key_id} encrypts only from {time_text(keys[0].encrypts_from)} on; "
            "rotate again after that"
        )
    taken = [key.key_id for key in keys]
    added = key_id or _free_id(taken, now)
    if added in taken:
        raise ConfigurationError(f"--id: there is a key {added} already")
    entries = [entry.strip() for entry in text.split(",")] if keys else []
    kept = [index for index in range(len(keys)) if not _has_expired(keys[:index], now, lifetime)]
    begins = float(ceil(now + delay)) if keys and delay > 0 else None
    entry = new_token_key(added) + (f"@{time_text(begins)}" if begins is not None else "")
    return RotatedKeys(
        ",".join((entry, *(entries[index] for index in kept))),
        added,
        begins,
        tuple(taken[index] for index in kept),
        tuple(taken[index] for index in range(len(keys)) if index not in kept),
    )


def time_text(seconds: float) -> str:
    """Return a time in seconds since the epoch as in an entry of `token_keys`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _has_expired(before: Sequence[TokenKey], now: float, lifetime: float) -> bool:
    """Return whether all tokens of a key have expired, which has these keys before it.

    It encrypted until the first of them did at the latest. If none has a time, that is unknown.
    """
    times = [key.encrypts_from for key in before if isfinite(key.encrypts_from)]
    return bool(times) and min(times) + lifetime + _CLOCK_SKEW <= now


def _free_id(taken: Collection[str], now: float) -> str:
    today = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"
    names = (today if number == 1 else f"{today}-{number}" for number in count(1))
    return next(name for name in names if name not in taken)
