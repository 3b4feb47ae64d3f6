"""Types of settings: accepted texts, and refusals that name an accepted one."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from dynamodb_processor_server.config_files import duration
from dynamodb_processor_server.limits.call_rate import RateClass
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.runtime.memory_limit import memory_limit, physical_memory

MEBIBYTE: Final = 1024 * 1024
LONGEST_SECONDS: Final = 315_360_000  # ten years: more overflows timers and tokens
_MAKE_ONE: Final = "`dynamodb-processor keys token-key` makes one"
_REGION: Final = re.compile("[A-Za-z0-9-]{1,63}")
_DEPLOYMENT: Final = re.compile("(?!:)[!-~]{1,100}")
_SECRET_NAME: Final = re.compile(
    r"arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,519}"
    r"|[A-Za-z0-9/_+=.@-]{1,512}"
)
_TIME_EXAMPLE: Final = "2027-01-01T12:00:00Z"
_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?) ?%", re.ASCII)


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65_535:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:50051")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("must be HOST:PORT, with an IPv6 address in brackets: [::1]:50051")
    return text


def _http_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # such as a port that is no number
        is_url = False
    if not is_url:
        raise ValueError("must be an HTTP URL, such as http://127.0.0.1:8000")
    return text


def aws_region(text: str) -> str:
    """Return `text`; raise ValueError unless it can be the name of a region."""
    if not _REGION.fullmatch(text):
        raise ValueError("must be the name of an AWS region, such as eu-west-1")
    return text


def _deployment(text: str) -> str:
    if not _DEPLOYMENT.fullmatch(text):  # CloudWatch would refuse all metrics
        raise ValueError(
            "must be 1 to 100 printable ASCII characters without a space, the first no colon"
        )
    return text


def _secret_name(text: str) -> str:
    if not _SECRET_NAME.fullmatch(text):
        raise ValueError("must be the name of a secret in AWS Secrets Manager, or its ARN")
    return text


def _from_json(value: object) -> object:
    """Return the value that a flag or a variable gives as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        example = '{"default": {"calls_per_second": 1000}}'
        raise ValueError(f"must be JSON, such as {example}") from None


def _bytes_or_share(value: object) -> object:
    """Return the bytes that a share of the memory limit, such as `25%`, comes to."""
    if not isinstance(value, str) or "%" not in value:
        return value
    parts = _SHARE.fullmatch(value.strip())
    if parts is None or not 0 < (percent := float(parts[1])) <= 100:
        raise ValueError("must be bytes, or a share of the memory above 0% and at most 100%")
    limit = memory_limit(physical_memory())
    if limit is None:
        raise ValueError("must be bytes: the memory of this machine is not known")
    return int(limit * percent / 100)


#: A number of bytes, which may be given as a share of the memory that the process may use.
BytesOrShare = Annotated[int, BeforeValidator(_bytes_or_share)]
#: A duration above zero, in seconds.
Seconds = Annotated[float, duration(0, LONGEST_SECONDS, above=True)]
OptionalRegion = Annotated[
    Annotated[str, AfterValidator(aws_region)] | None, BeforeValidator(lambda given: given or None)
]
Address = Annotated[str, AfterValidator(_address)]
DeploymentName = Annotated[str, AfterValidator(_deployment)]
_Url = Annotated[str, AfterValidator(_http_url)]
OptionalUrl = Annotated[_Url | None, BeforeValidator(lambda given: given or None)]
OptionalPath = Annotated[Path | None, BeforeValidator(lambda given: given or None)]
_SecretName = Annotated[str, AfterValidator(_secret_name)]
OptionalSecretName = Annotated[_SecretName | None, BeforeValidator(lambda given: given or None)]
OptionalAddress = Annotated[Address | None, BeforeValidator(lambda given: given or None)]
RateClasses = Annotated[dict[str, RateClass], NoDecode, BeforeValidator(_from_json)]


def token_key_ring(text: str) -> tuple[TokenKey, ...]:
    """Return the token keys that `text` lists, in its order.

    Raises ValueError with the number of the entry that is wrong; the text is a secret.
    """
    entries = text.split(",")
    keys = tuple(_token_key(entry.strip(), n) for n, entry in enumerate(entries, 1))
    if len({key.key_id for key in keys}) < len(keys):
        raise ValueError("two keys have the same id: give each key its own")
    return keys


def _token_key(entry: str, number: int) -> TokenKey:
    key_id, colon, rest = entry.partition(":")
    if not colon or not 1 <= len(key_id.encode()) <= 32:
        raise ValueError(f"key {number} is not `id:key` with an id of 1 to 32 bytes; {_MAKE_ONE}")
    text, at, time = rest.partition("@")
    try:
        secret = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:  # not the alphabet, or not even ASCII
        secret = b""
    if len(secret) != 32:
        raise ValueError(f"key {number} is not 32 bytes in base64url; {_MAKE_ONE}")
    return TokenKey(key_id, secret, _seconds_of(time, number) if at else -inf)


def _seconds_of(time: str, number: int) -> float:
    """Return a point in time with its time zone, in seconds since the epoch."""
    try:
        moment = datetime.fromisoformat(time)
        if moment.tzinfo is not None:
            return moment.timestamp()
    except ValueError:
        pass
    raise ValueError(f"key {number} has no time such as {_TIME_EXAMPLE} behind its `@`")
