"""Makes the gRPC server listen on every local address of a host, or on none.

For a host name, gRPC succeeds if any of its addresses is free: with the others taken it would serve
on half of them without an error. So gRPC gets one address at a time, and each was free a moment
ago.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

import grpc

from dynamodb_processor_server.errors import ConfigurationError

_RESOLVE_SECONDS: Final = 5.0
_REMEDY: Final = "give another address with --{}, port 0 for any port that is free"
_PLAIN_TEXT: Final = (
    "{}: plain text on {}, which is no loopback address, would show API keys to the network; give "
    "tls_certificate and tls_key, or --insecure if a proxy or a mesh encrypts, or listen on "
    "127.0.0.1"
)
_ATTEMPTS: Final = 20  # to find a port that is free on all addresses
# A name may have addresses that this machine lacks, such as `::1` where IPv6 is off.
_MISSING_ADDRESS: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

Address = tuple[socket.AddressFamily, str]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to listen on.

    Attributes:
        setting: The setting that names it.
        address: HOST:PORT; port 0 takes a free port.
        credentials: Makes the credentials of a port; None serves plain text.
        plain_text_anywhere: Whether plain text is served on an address that is not loopback.
    """

    setting: str
    address: str
    credentials: Callable[[], grpc.ServerCredentials] | None = None
    plain_text_anywhere: bool = False

    def failed(self, reason: str = "") -> ConfigurationError:
        """Return the error for an address that cannot be listened on."""
        remedy = _REMEDY.format(self.setting.replace("_", "-"))
        text = f"{self.setting}: cannot serve on {self.address}"
        return ConfigurationError(f"{text}: {reason}; {remedy}" if reason else f"{text}; {remedy}")

    def check_plain_text(self, addresses: Sequence[Address]) -> None:
        """Raise ConfigurationError if plain text would be served where it is not allowed."""
        if self.credentials is not None or self.plain_text_anywhere:
            return
        for _, address in addresses:
            if not ip_address(address.partition("%")[0]).is_loopback:
                raise ConfigurationError(_PLAIN_TEXT.format(self.setting, address))


async def addresses_of(host: str) -> list[Address]:
    """Return the addresses of a host, without ports; raise OSError if it has none."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, str(address[0])) for family, *_, address in found))


async def local_addresses(
    endpoint: Endpoint, resolve: Callable[[str], Awaitable[Sequence[Address]]] = addresses_of
) -> Sequence[Address]:
    """Return the addresses of an endpoint's host.

    Raises ConfigurationError if the host is unknown, or if plain text is not allowed there.
    """
    host = endpoint.address.rpartition(":")[0]
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            addresses = await resolve(host.strip("[]"))
    except (OSError, UnicodeError):  # TimeoutError is an OSError
        raise endpoint.failed("the host has no known address") from None
    endpoint.check_plain_text(addresses)
    return addresses


async def listen(
    server: grpc.aio.Server,
    endpoint: Endpoint,
    resolve: Callable[[str], Awaitable[Sequence[Address]]] = addresses_of,
) -> int:
    """Make a server listen on an endpoint and return the port; for port 0, a free one is chosen.

    Raises ConfigurationError if the host is unknown, if one of its addresses is taken, or if plain
    text is not allowed there.
    """
    addresses = await local_addresses(endpoint, resolve)
    try:
        addresses, port = _choose_port(addresses, int(endpoint.address.rpartition(":")[2]))
        for family, address in addresses:
            name = f"[{address}]" if family is socket.AF_INET6 else address
            if endpoint.credentials is None:
                server.add_insecure_port(f"{name}:{port}")
            else:
                # Each port learns of a new certificate by itself, so each has its own credentials.
                server.add_secure_port(f"{name}:{port}", endpoint.credentials())
    except OSError as error:
        raise endpoint.failed(error.strerror or "") from None
    except RuntimeError:
        raise endpoint.failed() from None
    return port


def _choose_port(addresses: Sequence[Address], port: int) -> tuple[list[Address], int]:
    """Return the addresses of this machine and a port that is free on all of them.

    Raises OSError if no address is local, or one is taken.
    """
    for last in range(_ATTEMPTS - 1, -1, -1):
        try:
            return _bind_all(addresses, port)
        except OSError as error:
            # A port that was chosen on one address may be taken on the next.
            if port or error.errno != errno.EADDRINUSE or not last:
                raise
    raise AssertionError("the last attempt returns or raises")


def _bind_all(addresses: Sequence[Address], port: int) -> tuple[list[Address], int]:
    here: list[Address] = []
    missing: OSError | None = None
    with ExitStack() as stack:
        for family, address in addresses:
            try:
                bound = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                bound.bind((address, port))
                bound.listen(1)
            except OSError as error:
                if error.errno not in _MISSING_ADDRESS:
                    raise
                missing = error
                continue
            port = port or bound.getsockname()[1]
            here.append((family, address))
    if not here:
        raise missing or OSError(errno.EADDRNOTAVAIL, "the host has no address")
    return here, port
