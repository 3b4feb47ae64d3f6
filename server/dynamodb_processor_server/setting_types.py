"""The types of settings: what may be written, and what is said of anything else."""

from __future__ import annotations

import base64
import json
import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.limits.call_rate import RateClass
from dynamodb_processor_server.query.page_token import TokenKey

LONGEST_SECONDS: Final = 315_360_000  # ten years: more overflows timers and tokens
_REGION: Final = re.compile("[A-Za-z0-9-]{1,63}")


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65_535:
        raise ValueError("must be HOST:PORT")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("must be HOST:PORT, with an IPv6 address in brackets")
    return text


def _http_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # such as a port that is no number
        is_url = False
    if not is_url:
        raise ValueError("must be a URL, such as http://127.0.0.1:8000")
    return text


def aws_region(text: str) -> str:
    """Return `text`; raise ValueError unless it can be the name of a region."""
    if not _REGION.fullmatch(text):
        raise ValueError("must be the name of an AWS region, such as eu-west-1")
    return text


def _from_json(value: object) -> object:
    """Return what a setting given as text says, be it a flag or from the environment."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("must be JSON") from None


Seconds = Annotated[float, Field(gt=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
OptionalRegion = Annotated[
    Annotated[str, AfterValidator(aws_region)] | None, BeforeValidator(lambda given: given or None)
]
Address = Annotated[str, AfterValidator(_address)]
_Url = Annotated[str, AfterValidator(_http_url)]
OptionalUrl = Annotated[_Url | None, BeforeValidator(lambda given: given or None)]
OptionalAddress = Annotated[Address | None, BeforeValidator(lambda given: given or None)]
RateClasses = Annotated[dict[str, RateClass], NoDecode, BeforeValidator(_from_json)]


def token_key_ring(text: str) -> tuple[TokenKey, ...]:
    """Return the token keys that `text` lists, newest first.

    Raises ConfigurationError naming the entry that is wrong.
    """
    entries = text.split(",")
    keys = tuple(_token_key(entry.strip(), n) for n, entry in enumerate(entries, 1))
    if len({key.key_id for key in keys}) < len(keys):
        raise ConfigurationError("token_keys: two keys have the same id")
    return keys


def _token_key(entry: str, number: int) -> TokenKey:
    key_id, colon, text = entry.partition(":")
    if not colon or not 1 <= len(key_id.encode()) <= 32:
        raise ConfigurationError(
            f"token_keys: key {number} is not `id:key` with an id of 1 to 32 bytes"
        )
    try:
        secret = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:  # not the alphabet, or not even ASCII
        secret = b""
    if len(secret) != 32:
        raise ConfigurationError(f"token_keys: key {number} is not 32 bytes in base64url")
    return TokenKey(key_id, secret)
