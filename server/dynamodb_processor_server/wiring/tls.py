"""Creates the endpoints of the server, with TLS where the settings say so."""

from __future__ import annotations

import time
from functools import partial

from dynamodb_processor_server.config_files import ReloadableFiles
from dynamodb_processor_server.config_files.tls_files import (
    ServerIdentity,
    TlsContents,
    server_identity,
)
from dynamodb_processor_server.rpc.listening import Endpoint
from dynamodb_processor_server.rpc.tls import server_credentials
from dynamodb_processor_server.settings import Settings

ReloadableIdentity = ReloadableFiles[TlsContents, ServerIdentity]


def reloadable_identity(settings: Settings) -> ReloadableIdentity | None:
    """Return the TLS identity, which is reloaded with its files; None for plain text.

    Raises ConfigurationError for errors in the settings or the files.
    """
    files = settings.tls_files()
    if files is None:
        return None
    return ReloadableFiles(
        files.certificate,
        files.read,
        lambda contents: server_identity(contents, time.time()),
        retry_refused=True,  # a certificate that is not valid yet becomes valid
    )


def endpoints_of(settings: Settings, identity: ReloadableIdentity | None) -> list[Endpoint]:
    """Return the endpoints of the main server, that of `listen` first."""
    if identity is None:
        return [Endpoint("listen", settings.listen, None, settings.insecure)]
    credentials = partial(server_credentials, lambda: identity.current)
    plain = partial(credentials, require_client_certificate=False)
    mutual = partial(credentials, require_client_certificate=True)
    if settings.mtls_listen is not None:
        return [
            Endpoint("listen", settings.listen, plain),
            Endpoint("mtls_listen", settings.mtls_listen, mutual),
        ]
    return [Endpoint("listen", settings.listen, mutual if settings.tls_client_ca else plain)]
