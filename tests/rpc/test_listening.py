"""Tests that a server listens on all addresses of its host, or on none."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Final

import grpc
import pytest

from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.rpc.listening import Address, Endpoint, addresses_of, listen

_LOOPBACK: Final[Sequence[Address]] = (
    (socket.AF_INET, "127.0.0.1"),
    (socket.AF_INET6, "::1"),
)

_WILDCARDS: Final = ("0.0.0.0", "[::]")  # noqa: S104 - for as long as a test takes


async def both(_: str) -> Sequence[Address]:
    """Return both loopback addresses, as `localhost` usually has."""
    return _LOOPBACK


@asynccontextmanager
async def listening(
    address: str,
    resolve: Callable[[str], Awaitable[Sequence[Address]]] = addresses_of,
    *,
    insecure: bool = True,
) -> AsyncIterator[int]:
    """Serve plain text on an address during the `async with`, and yield the port."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    endpoint = Endpoint("listen", address, plain_text_anywhere=insecure)
    port = await listen(server, endpoint, resolve)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


def connects(family: socket.AddressFamily, address: str, port: int) -> bool:
    """Return whether a server listens there."""
    with socket.socket(family) as client:
        client.settimeout(10)
        return client.connect_ex((address, port)) == 0


async def test_a_name_is_served_on_all_its_addresses() -> None:
    """All have one port, also if it was chosen."""
    async with listening("both.test:0", both) as port:
        assert [connects(family, address, port) for family, address in _LOOPBACK] == [True, True]


@pytest.mark.parametrize(("family", "taken"), _LOOPBACK)
async def test_a_name_of_which_one_address_is_taken_is_refused(
    family: socket.AddressFamily, taken: str
) -> None:
    """Otherwise the server would serve half of its callers, without an error."""
    with socket.socket(family) as other:
        other.bind((taken, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"cannot serve on both.test:{port}: .*in use"):
            async with listening(f"both.test:{port}", both):
                pass


@pytest.mark.parametrize("host", _WILDCARDS)
async def test_a_wildcard_of_which_an_address_is_taken_is_refused(host: str) -> None:
    """The process that listens on one address would get its calls."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match="in use"):
            async with listening(f"{host}:{port}"):
                pass


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", *_WILDCARDS, "localhost"])
async def test_every_form_of_an_address_is_served(host: str) -> None:
    """The start returns the port."""
    async with listening(f"{host}:0") as port:
        family, address = _LOOPBACK[host == "[::1]"]
        assert connects(family, address, port)


async def test_an_address_that_this_machine_does_not_have_is_left_out() -> None:
    """An example is `::1` where IPv6 is off; if there is no other address, the start fails."""
    found = [(socket.AF_INET, address) for address in ("192.0.2.1", "127.0.0.1")]

    async def resolve(_: str) -> Sequence[Address]:
        return found

    async with listening("some.test:0", resolve) as port:
        assert connects(socket.AF_INET, "127.0.0.1", port)
    del found[1]
    with pytest.raises(ConfigurationError, match=r"cannot serve on some\.test:0"):
        async with listening("some.test:0", resolve):
            pass


async def test_an_unknown_host_is_refused() -> None:
    """The error has its own text."""
    with pytest.raises(ConfigurationError, match="the host has no known address"):
        async with listening("no-such-host.invalid:0"):
            pass


async def test_a_port_that_is_picked_is_free_on_all_addresses() -> None:
    """It is free even if many ports are taken on one of them."""
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
        async with listening("both.test:0", both) as port:
            assert port


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "[::1]", "localhost"])
async def test_plain_text_is_served_on_loopback(host: str) -> None:
    """Nobody on the network can see it."""
    async with listening(f"{host}:0", insecure=False) as port:
        assert port


async def both_kinds(_: str) -> Sequence[Address]:
    """Return a loopback address and one of the network."""
    return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "fe80::1%lo")]


@pytest.mark.parametrize(
    ("address", "shown", "resolve"),
    [
        ("0.0.0.0:0", "0.0.0.0", addresses_of),  # noqa: S104 - refused
        ("[::]:0", "::", addresses_of),
        ("192.0.2.1:0", "192.0.2.1", addresses_of),
        ("both.test:0", "fe80::1%lo", both_kinds),
    ],
)
async def test_plain_text_elsewhere_has_to_be_asked_for(
    address: str, shown: str, resolve: Callable[[str], Awaitable[Sequence[Address]]]
) -> None:
    """The error names the address and the three ways out."""
    with pytest.raises(ConfigurationError) as caught:
        async with listening(address, resolve, insecure=False):
            pass
    assert str(caught.value) == (
        f"listen: plain text on {shown}, which is no loopback address, would show API keys to the "
        "network; give tls_certificate and tls_key, or --insecure if a proxy or a mesh encrypts, "
        "or listen on 127.0.0.1"
    )
