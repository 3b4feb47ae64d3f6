"""Authentication by API key."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dynamodb_processor_server.auth.keys_file import KeyEntry, KeysFile
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.config_files import ConfigDocument
from dynamodb_processor_server.errors import Unauthenticated

_MAX_KEY_LENGTH: Final = 512
_HEADERS: Final = frozenset({"x-api-key", "authorization"})
_MISSING: Final = "no API key: send x-api-key or authorization: Bearer"
# One text whether the key is unknown, malformed or expired, so that nothing is learnt by trying.
_INVALID: Final = "the API key is not valid"
_AMBIGUOUS: Final = "more than one API key: send one"


@dataclass(frozen=True, slots=True)
class _Grant:
    digest: bytes
    principal: Principal


class KeyRing:
    """The good API keys at one moment; immutable, and replaced as a whole when the file changes.

    Holds digests only. A plain SHA-256 suffices, because keys are 32 random bytes: there is nothing
    to guess that a slower digest would protect.
    """

    __slots__ = ("_by_digest", "_nobody")

    def __init__(self, grants: Iterable[_Grant]) -> None:
        self._by_digest = {grant.digest: grant for grant in grants}
        # An unknown key is compared as well, and with a digest that no text is known to have.
        nobody = Principal("", "", frozenset(), (), "", expires=-math.inf)
        self._nobody = _Grant(secrets.token_bytes(32), nobody)

    @classmethod
    def of(cls, file: KeysFile) -> KeyRing:
        """Return the ring of a keys file."""
        return cls(_grant_of(entry) for entry in file.keys)

    @classmethod
    def build(cls, document: ConfigDocument, rate_classes: Iterable[str] | None = None) -> KeyRing:
        """Return the ring of a keys file's content; what `ReloadableFile` needs.

        Args:
            document: The file.
            rate_classes: The names that entries may give as their rate class; None allows any.

        Raises:
            ConfigurationError: The content has mistakes; all of them are listed.
        """
        context: Mapping[str, frozenset[str]] | None = None
        if rate_classes is not None:
            context = {"rate_classes": frozenset(rate_classes)}
        return cls.of(document.parse(KeysFile, context))

    def __len__(self) -> int:
        return len(self._by_digest)

    @property
    def principals(self) -> tuple[Principal, ...]:
        """Whom the keys belong to, one for each key, in the order of the file."""
        return tuple(grant.principal for grant in self._by_digest.values())

    def authenticate(self, text: str | None, now: float) -> Principal:
        """Return who a key belongs to.

        Args:
            text: The key as the caller sent it; None when there was none.
            now: Seconds since the epoch.

        Raises:
            Unauthenticated: There is no key, or it is unknown or expired.
        """
        if text is None:
            raise Unauthenticated(_MISSING)
        if len(text) > _MAX_KEY_LENGTH:
            raise Unauthenticated(_INVALID)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        grant = self._by_digest.get(digest, self._nobody)
        if not hmac.compare_digest(grant.digest, digest) or now >= grant.principal.expires:
            raise Unauthenticated(_INVALID)
        return grant.principal


def credential_of(metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
    """Return the API key in a call's metadata, or None when there is none.

    It is the value of `x-api-key`, or what follows `Bearer` in `authorization` (RFC 6750; the
    scheme's case does not matter, RFC 9110 section 11.1). Other schemes are not for this service.

    Raises:
        Unauthenticated: There are two that differ; which one was meant is not for us to guess.
    """
    found: str | None = None
    for name, value in metadata:
        if name not in _HEADERS:
            continue
        key = _credential_in(name, value)
        if key and found is not None and key != found:
            raise Unauthenticated(_AMBIGUOUS)
        found = key or found
    return found


def _credential_in(name: str, value: str | bytes) -> str | None:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if name == "x-api-key":
        return text.strip()
    scheme, _, credential = text.strip().partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else None


def _grant_of(entry: KeyEntry) -> _Grant:
    principal = Principal(
        key_id=entry.id,
        name=entry.principal,
        roles=frozenset(entry.roles),
        grants=tuple(table.grant for table in entry.tables),
        rate_class=entry.rate_class,
        expires=entry.expires.timestamp() if entry.expires else math.inf,
    )
    return _Grant(bytes.fromhex(entry.digest.removeprefix("sha256:")), principal)
