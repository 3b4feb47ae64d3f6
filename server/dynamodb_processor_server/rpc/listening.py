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
from typing import Final

import grpc

from dynamodb_processor_server.errors import ConfigurationError

_RESOLVE_SECONDS: Final = 5.0
_REMEDY: Final = "give another address with --listen, port 0 for any port that is free"
_ATTEMPTS: Final = 20  # to find a port that is free on all addresses
# A name may have addresses that this machine lacks, such as `::1` where IPv6 is off.
_MISSING_ADDRESS: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

Address = tuple[socket.AddressFamily, str]


async def addresses_of(host: str) -> list[Address]:
    """Return the addresses of a host, without ports; raise OSError if it has none."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, str(address[0])) for family, *_, address in found))


async def listen(
    server: grpc.aio.Server,
    host_and_port: str,
    resolve: Callable[[str], Awaitable[Sequence[Address]]] = addresses_of,
) -> int:
    """Make a server listen on HOST:PORT and return the port; for port 0, a free one is chosen.

    Raises ConfigurationError if the host is unknown, or one of its addresses is taken.
    """
    host, _, text = host_and_port.rpartition(":")
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            addresses = await resolve(host.strip("[]"))
    except (OSError, UnicodeError):  # TimeoutError is an OSError
        raise ConfigurationError(
            f"listen: cannot serve on {host_and_port}: the host has no known address; {_REMEDY}"
        ) from None
    try:
        addresses, port = _choose_port(addresses, int(text))
        for family, address in addresses:
            name = f"[{address}]" if family is socket.AF_INET6 else address
            server.add_insecure_port(f"{name}:{port}")
    except OSError as error:
        raise ConfigurationError(
            f"listen: cannot serve on {host_and_port}: {error.strerror}; {_REMEDY}"
        ) from None
    except RuntimeError:
        raise ConfigurationError(f"listen: cannot serve on {host_and_port}; {_REMEDY}") from None
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
