"""The `health` command: a probe that imports only the health client of the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.rpc.health_client import TlsOptions, serving_status

_TIMEOUT = 2.0  # seconds
_RETRY_SECONDS = 0.2  # between two checks


async def check_health(
    target: str,
    service: str,
    wait: float = 0.0,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    tls: TlsOptions | None = None,
) -> int:
    """Check a server's health, print the status and return 0 if it is SERVING, else 1.

    While the status is another one, the check is repeated for up to `wait` seconds.
    """
    deadline = time.monotonic() + wait
    while (status := await serving_status(target, service, _TIMEOUT, tls)) != "SERVING":
        if time.monotonic() + _RETRY_SECONDS > deadline:
            break
        await sleep(_RETRY_SECONDS)
    print(status if status == "SERVING" else f"{target}: {status}")
    return 0 if status == "SERVING" else 1


def tls_options(
    cacert: str | None, cert: str | None, cert_key: str | None, server_name: str
) -> TlsOptions | None:
    """Return the options of a call with TLS from the flags of those names; None for plain text.

    Raises ConfigurationError for a file that cannot be read, and for flags that lack another one.
    """
    if cacert is None:
        if cert or cert_key or server_name:
            raise ConfigurationError("--cert, --cert-key and --server-name need --cacert")
        return None
    if (cert is None) != (cert_key is None):
        raise ConfigurationError("--cert and --cert-key: give both or none")
    return TlsOptions.of(
        _read("--cacert", cacert),
        _read("--cert", cert) if cert else None,
        _read("--cert-key", cert_key) if cert_key else None,
        server_name,
    )


def _read(flag: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the path is not usable"
        raise ConfigurationError(f"{flag}: {path}: cannot be read: {reason}") from None
