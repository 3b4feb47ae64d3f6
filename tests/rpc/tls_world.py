"""An authority with the certificates of a server and its clients, and channels with TLS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from tests.support.certificates import Certificate, issue, replace_file

REPORTS: Final = "spiffe://tests/reports"


def entry(entry_id: str, san: str, *, tables: tuple[Any, ...] = ("*",), **more: Any) -> Any:
    """Return an entry of the keys file for certificates with a name."""
    return {"id": entry_id, "principal": entry_id, "san": san, "tables": list(tables)} | more


def secure_channel(
    address: str, authority: Certificate, client: Certificate | None = None
) -> grpc.aio.Channel:
    """Return a channel that trusts an authority, on a connection of its own."""
    credentials = (
        grpc.ssl_channel_credentials(authority.pem)
        if client is None
        else grpc.ssl_channel_credentials(authority.pem, client.key, client.pem)
    )
    # The default is that channels to one address share their connections.
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.secure_channel(address, credentials, options=options)


@dataclass
class TlsWorld:
    """The files of a server in a folder, and the authority that signed its certificate."""

    folder: Path
    authority: Certificate = field(default_factory=lambda: issue(common_name="authority"))

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.certificate, self.key = self.server().write(self.folder, "server")
        self.client_ca, _ = self.authority.write(self.folder, "ca")

    def server(self, days: tuple[float, float] = (-1, 1)) -> Certificate:
        """Return a new certificate for the server."""
        return issue(issuer=self.authority, days=days)

    def client(self, *names: str, uri: str = REPORTS, **how: Any) -> Certificate:
        """Return a new certificate for a client, of a URI or of names."""
        uris = [] if names else [uri]
        return issue(*names, uris=uris, **({"issuer": self.authority} | how))

    def trust_clients_of(self, *authorities: Certificate) -> None:
        """Replace the client CAs."""
        replace_file(self.client_ca, b"".join(one.pem for one in authorities))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of a server with TLS, whose clients need no certificate."""
        return {"tls_certificate": self.certificate, "tls_key": self.key}

    @property
    def mutual(self) -> Mapping[str, Any]:
        """The settings of a server whose clients need a certificate."""
        return {**self.settings, "tls_client_ca": self.client_ca}

    def connect(self, client: Certificate | None = None) -> Callable[[str], grpc.aio.Channel]:
        """Return a function that opens a channel to an address."""
        return lambda address: secure_channel(address, self.authority, client)
