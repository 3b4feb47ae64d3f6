"""Reads URLs of Redis: of one server, of Sentinels that know it, or of the nodes of a cluster."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from inspect import signature
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from redis.asyncio.connection import Connection, SSLConnection, parse_url

from dynamodb_processor_server.errors import ConfigurationError

Address = tuple[str, int]

INVALID_URL: Final = (
    "must be redis://, rediss:// or unix:// and an address, redis+sentinel:// and Sentinels with "
    "the name of a service, or redis+cluster:// and nodes (rediss for TLS)"
)
#: A part of a prefix in braces, which alone decides where a cluster keeps a key.
_HASH_TAG: Final = re.compile(r"[^{]*\{[^}]+\}")
#: Options of pools of connections.
_POOL_OPTIONS: Final = frozenset({"connection_class", "max_connections", "timeout"})
#: Options of connections to `seeds` too, besides those of TLS and the user.
_SEED_OPTIONS: Final = frozenset({"connection_class", "client_name", "protocol"})
_SENTINEL_PORT: Final = 26_379
_PORT: Final = 6_379


class Topology(Enum):
    """The way in which the server to use is found; the value is the suffix of URL schemes."""

    ONE_SERVER = ""
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A URL of Redis, parsed.

    Attributes:
        topology: How the server to use is found.
        seeds: The Sentinels, or the nodes of the cluster, that the URL names; empty for one server.
        service: The name under which the Sentinels know the primary.
        options: redis-py's options of connections to the server, with the password.
        seed_options: Those of connections to `seeds`.
    """

    topology: Topology
    seeds: tuple[Address, ...]
    service: str
    options: dict[str, Any] = field(repr=False)
    seed_options: dict[str, Any] = field(repr=False)

    @property
    def has_tls(self) -> bool:
        """Whether connections are encrypted."""
        return issubclass(self.options.get("connection_class", object), SSLConnection)


@dataclass(frozen=True, slots=True)
class RedisTls:
    """Files for TLS with Redis, in PEM: the authorities of its certificate, and the client's own.

    Each is None where the system's authorities suffice, or the client needs no certificate. A new
    connection reads the files again.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def check(self) -> None:
        """Raise ConfigurationError if the files cannot be used, or one lacks another."""
        for setting, given, missing in (
            ("redis_tls_certificate", self.certificate, not self.key),
            ("redis_tls_key", self.key, not self.certificate),
        ):
            if given and missing:
                other = "redis_tls_key" if given is self.certificate else "redis_tls_certificate"
                raise ConfigurationError(f"{setting}: needs {other}")
        context = ssl.create_default_context()
        try:
            if self.ca is not None:
                context.load_verify_locations(self.ca)
        except (OSError, ValueError) as error:  # the error of TLS is an OSError
            raise ConfigurationError(f"redis_tls_ca: {self.ca}: {_reason(error)}") from None
        try:
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key, _no_password)
        except (OSError, ValueError) as error:
            files = f"{self.certificate}, {self.key}"
            raise ConfigurationError(f"redis_tls_certificate: {files}: {_reason(error)}") from None

    def apply(self, url: str) -> str:
        """Return a URL whose connections use the files; raise ValueError if it is without TLS."""
        named = {"ssl_ca_certs": self.ca, "ssl_certfile": self.certificate, "ssl_keyfile": self.key}
        given = {name: str(path) for name, path in named.items() if path is not None}
        if not given:
            return url
        if not parse_redis_url(url).has_tls:
            raise ValueError("is without TLS, for which redis_tls_ca or redis_tls_certificate are")
        return f"{url}{'&' if '?' in url else '?'}{urlencode(given)}"


def checked_url(text: str, prefix: str = "", tls: RedisTls | None = None) -> str:
    """Return the URL of a Redis, with the files for TLS.

    `prefix` is that of all keys. Raises ValueError, which does not show the URL, for any other
    text.
    """
    parsed = parse_redis_url(text)
    if parsed.topology is Topology.CLUSTER and prefix and not has_hash_tag(prefix):
        raise ValueError(
            "is that of a cluster, which needs a redis_prefix in braces, such as "
            "{dynamodb-processor}:"
        )
    return text if tls is None else tls.apply(text)


def has_hash_tag(prefix: str) -> bool:
    """Return whether a cluster keeps all keys with this prefix on one node."""
    return _HASH_TAG.match(prefix) is not None


def parse_redis_url(text: str) -> RedisUrl:
    """Parse a URL of Redis; raise ValueError, which does not show it, for any other text."""
    try:
        parsed = _parsed(text)
    except (ValueError, AttributeError):  # the latter is of a certificate's unknown flag
        raise ValueError(INVALID_URL) from None
    if not parsed.options.keys() <= _known_options(parsed.options):
        raise ValueError("has an option after `?` that redis-py's connections do not have")
    return parsed


def _known_options(options: Mapping[str, Any]) -> frozenset[str]:
    """Return the options that connections may have; redis-py finds others when it connects."""
    kind = options.get("connection_class", Connection)
    constructors = [signature(each.__init__) for each in kind.__mro__]
    names = [name for constructor in constructors for name in constructor.parameters]
    return _POOL_OPTIONS.union(names)


def _parsed(text: str) -> RedisUrl:
    scheme, _, rest = text.partition("://")
    base, _, suffix = scheme.lower().partition("+")
    topology = Topology(suffix)
    if topology is Topology.ONE_SERVER:
        return RedisUrl(topology, (), "", dict(parse_url(text)), {})
    if base not in ("redis", "rediss"):
        raise ValueError
    location, path, query = re.fullmatch(r"([^/?]*)/?([^?]*)(\?.*)?", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    user, at, hosts = location.rpartition("@")
    is_cluster = topology is Topology.CLUSTER
    port = _PORT if is_cluster else _SENTINEL_PORT
    seeds = tuple(_address(host, port) for host in hosts.split(","))
    service, _, database = ("", "", path) if is_cluster else path.partition("/")
    if (is_cluster and database not in ("", "0")) or (not is_cluster and not service):
        raise ValueError
    options: dict[str, Any] = dict(parse_url(f"{base}://{user}{at}redis/{database}{query or ''}"))
    del options["host"]
    if is_cluster:
        options.pop("db", None)
    seed_options = {
        name: value
        for name, value in options.items()
        if name in _SEED_OPTIONS or name.startswith("ssl_")
    }
    for name in ("username", "password"):
        value = options.get(name) if is_cluster else options.pop(f"sentinel_{name}", None)
        if value is not None:
            seed_options[name] = value
    return RedisUrl(topology, seeds, service, options, seed_options)


def _address(host: str, port: int) -> Address:
    parts = urlsplit(f"redis://{host}")
    if not parts.hostname or parts.path or parts.username:
        raise ValueError
    return parts.hostname, parts.port or port


def _no_password() -> str:
    """Refuse a key that is encrypted, for which OpenSSL would ask at the terminal."""
    raise ConfigurationError("redis_tls_key: is encrypted; give the file of the decrypted key")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "is not PEM, or the key is not that of the certificate"
    return error.strerror or "cannot be read" if isinstance(error, OSError) else "cannot be read"
