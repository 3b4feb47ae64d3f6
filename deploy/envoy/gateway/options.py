"""The options of one gateway."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_ADDRESS: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\s]+):(?P<port>\d{1,5})")
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.\[\]:-]+")
MAX_PORT: Final = 65_535


class OptionError(Exception):
    """An option has a value that it does not accept; the text names both."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port, such as `127.0.0.1:8080` or `[::1]:8080`."""

    host: str
    port: int

    @classmethod
    def parse(cls, option: str, text: str) -> Address:
        """Return the address of a text.

        Raises:
            OptionError: it is none.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None or not 0 < int(match["port"]) <= MAX_PORT:
            raise OptionError(f"{option}: {text!r} is not HOST:PORT")
        return cls(match["host"].strip("[]"), int(match["port"]))

    @property
    def is_ip(self) -> bool:
        """Whether the host is an IP address, and no name."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        return self.is_ip and ipaddress.ip_address(self.host).is_loopback

    @property
    def envoy(self) -> dict[str, Any]:
        """The address as Envoy has it."""
        return {"socket_address": {"address": self.host, "port_value": self.port}}

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Options:
    """Addresses, servers and permitted origins of one gateway.

    Args:
        listen: The address of JSON, gRPC-Web and gRPC.
        upstreams: The servers. With names, all addresses of a name are servers.
        allow_origins: The origins of pages that may call the gateway, such as `https://a.example`.
        certificate_file: The file that names the gateway's certificate, see `certificate_secret`;
            without it callers use plain text.
        upstream_ca: The authorities of the servers' certificates; without them plain text.
        upstream_name: The name in the servers' certificates; by default the first server's host.
        admin: The address of Envoy's own pages, such as metrics; it must be of this machine alone.
        access_log: Whether a line of JSON is written to standard output for each request.
        reference: The folder with the files of the reference page, which `listen` serves as well.
        static: Folders of files for browsers, each with an address of its own.
        static_connect: The origins that pages of `static` may call, such as the gateway's.
    """

    listen: Address
    upstreams: Sequence[Address]
    allow_origins: Sequence[str] = ()
    certificate_file: Path | None = None
    upstream_ca: Path | None = None
    upstream_name: str | None = None
    admin: Address | None = None
    access_log: bool = False
    reference: Path | None = None
    static: Sequence[tuple[Address, Path]] = ()
    static_connect: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.upstreams:
            raise OptionError("--upstream: at least one server is needed")
        if self.admin is not None and not self.admin.is_loopback:
            raise OptionError(f"--admin: {self.admin} is not a loopback address")
        named = [("--allow-origin", origin) for origin in self.allow_origins]
        named += [("--static-connect", origin) for origin in self.static_connect]
        for option, origin in named:
            if not _ORIGIN.fullmatch(origin):
                raise OptionError(
                    f"{option}: {origin!r} is not an origin, such as https://console.example"
                )
