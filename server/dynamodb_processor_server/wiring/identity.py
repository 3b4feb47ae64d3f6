"""Builds the ways to identify callers: API keys, bearer tokens and client certificates."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import NoReturn

from prometheus_client import CollectorRegistry

from dynamodb_processor_server.auth.api_keys import KeyRing
from dynamodb_processor_server.auth.bearer.identity_file import IdentityFile
from dynamodb_processor_server.auth.bearer.tokens import BearerTokens, KeySetReading
from dynamodb_processor_server.auth.grants import WARN_ONLY
from dynamodb_processor_server.config_files import ConfigDocument, Reloadable, ReloadableFile
from dynamodb_processor_server.rpc.interceptors.authentication import (
    ApiKeyAuthenticator,
    Authenticator,
    BearerAuthenticator,
    CertificateAuthenticator,
)
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.telemetry.identity import IdentityMetrics
from dynamodb_processor_server.telemetry.labels import Labels
from dynamodb_processor_server.wiring.secrets import SecretOpener


@dataclass(frozen=True, slots=True)
class Identity:
    """The callers that are known, in files that are reloaded."""

    keys_file: Reloadable[ConfigDocument, KeyRing]
    identity_file: ReloadableFile[IdentityFile] | None
    tokens: BearerTokens | None
    metrics: IdentityMetrics
    accepts_certificates: bool

    def authenticators(self) -> Iterator[Authenticator]:
        """Yield the ways to identify a caller in the order in which they are tried."""
        if self.tokens is not None:
            yield BearerAuthenticator(self.tokens)
        yield ApiKeyAuthenticator(self.keys_file)
        # The last one: the certificate may be that of a proxy or a sidecar for many callers.
        if self.accepts_certificates:
            yield CertificateAuthenticator(self.keys_file)

    def check_now(self) -> None:
        """Check the files now instead of after their interval."""
        self.keys_file.check_now()
        if self.identity_file is not None:
            self.identity_file.check_now()

    def watches(self, interval: float) -> Iterator[Coroutine[None, None, NoReturn]]:
        """Yield coroutines that keep bearer tokens up to date, until they are cancelled."""
        if self.identity_file is not None and self.tokens is not None:
            yield self.tokens.watch()
            yield self.identity_file.watch(self.tokens.adopt, every=interval)


async def open_identity(
    settings: Settings, opener: SecretOpener, registry: CollectorRegistry, labels: Labels
) -> Identity:
    """Return the known callers. Raises ConfigurationError for errors in the files."""
    classes = settings.rate_classes
    further = (WARN_ONLY,) if settings.grants == "warn" else ()
    keys = await opener.open_keys_file(lambda file: KeyRing.build(file, classes, further))
    identity, tokens = None, None
    if settings.identity is not None:
        identity = ReloadableFile(settings.identity, lambda file: IdentityFile.build(file, classes))
        reading = KeySetReading(
            settings.key_set_interval, settings.reload_interval, settings.key_set_timeout
        )
        tokens = BearerTokens(identity.current, reading, further)
    return Identity(
        keys,
        identity,
        tokens,
        IdentityMetrics(registry, tokens, labels),
        settings.tls_client_ca is not None,
    )
