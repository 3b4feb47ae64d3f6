"""Authentication by API key."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dynamodb_processor_server.auth.client_certificates import CertificateRing
from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.keys_file import CertificateEntry, KeyEntry, KeysFile
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.auth.rule_template import Subject
from dynamodb_processor_server.config_files import ConfigDocument
from dynamodb_processor_server.errors import Unauthenticated

_MAX_KEY_LENGTH: Final = 512
_HEADERS: Final = frozenset({"x-api-key", "authorization"})
# Unknown, malformed and expired keys get one text, so that trying keys reveals nothing.
_INVALID: Final = "the API key is not valid"
_AMBIGUOUS: Final = "more than one API key: send one"


@dataclass(frozen=True, slots=True)
class _Key:
    digest: bytes
    principal: Principal


class KeyRing:
    """The callers of a keys file at one moment; never changed, but replaced when the file changes.

    Only digests are stored. A plain SHA-256 is enough for keys of 32 random bytes: they cannot be
    guessed, so a slower digest would protect nothing.

    An accepted key is recognised by its keyed BLAKE2s after that, under a secret of this object:
    OpenSSL's SHA-256 takes 3 % of a cached call, as its code is not in the processor's caches.

    Attributes:
        certificates: The callers with client certificates; the other methods are about API keys.
    """

    __slots__ = ("_accepted", "_by_digest", "_dummy", "_secret", "certificates")

    def __init__(self, keys: Iterable[_Key], certificates: CertificateRing) -> None:
        self.certificates = certificates
        self._by_digest = {key.digest: key for key in keys}
        # An unknown key is compared as well, with a digest that no known text has.
        nobody = Principal("", "", frozenset(), (), "", expires=-math.inf)
        self._dummy = _Key(secrets.token_bytes(32), nobody)
        self._secret = secrets.token_bytes(32)
        self._accepted: dict[bytes, _Key] = {}  # as many as there are keys, at most

    @classmethod
    def of(cls, file: KeysFile, further: Sequence[Grant] = ()) -> KeyRing:
        """Return the key ring of a parsed keys file; each principal has `further` grants, too."""
        by_san = {entry.san: _principal_of(entry, further) for entry in file.certificates}
        return cls([_key_of(entry, further) for entry in file.keys], CertificateRing(by_san))

    @classmethod
    def build(
        cls,
        document: ConfigDocument,
        rate_classes: Iterable[str] | None = None,
        further: Sequence[Grant] = (),
    ) -> KeyRing:
        """Return the key ring of a keys file's content, as `ReloadableFile` needs it.

        Args:
            document: The file.
            rate_classes: The allowed names of rate classes; None allows any name.
            further: Grants that each principal has behind its own.

        Raises:
            ConfigurationError: The content has errors; all of them are listed.
        """
        context: Mapping[str, frozenset[str]] | None = None
        if rate_classes is not None:
            context = {"rate_classes": frozenset(rate_classes)}
        return cls.of(document.parse(KeysFile, context), further)

    def __len__(self) -> int:
        return len(self._by_digest)

    @property
    def principals(self) -> tuple[Principal, ...]:
        """The principals, one for each key and each certificate, in the order of the file."""
        keys = tuple(key.principal for key in self._by_digest.values())
        return keys + self.certificates.principals

    def authenticate(self, text: str, now: float) -> Principal:
        """Return the principal of a key.

        Args:
            text: The key as the caller sent it.
            now: Seconds since the epoch.

        Raises:
            Unauthenticated: The key is unknown or expired.
        """
        if len(text) > _MAX_KEY_LENGTH:
            raise Unauthenticated(_INVALID)
        data = text.encode("utf-8", "surrogatepass")
        code = hashlib.blake2s(data, key=self._secret).digest()
        key = self._accepted.get(code)
        if key is None:
            digest = hashlib.sha256(data).digest()
            key = self._by_digest.get(digest, self._dummy)
            if not hmac.compare_digest(key.digest, digest):
                raise Unauthenticated(_INVALID)
            self._accepted[code] = key
        if now >= key.principal.expires:
            raise Unauthenticated(_INVALID)
        return key.principal


def credential_of(metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
    """Return the API key in a call's metadata, or None if there is none.

    It is the value of `x-api-key`, or the text after `Bearer` in `authorization` (RFC 6750; the
    scheme's case does not matter, RFC 9110 section 11.1). Other schemes are ignored.

    Raises:
        Unauthenticated: There are two different keys; the service does not guess the right one.
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


def _key_of(entry: KeyEntry, further: Sequence[Grant]) -> _Key:
    digest = bytes.fromhex(entry.digest.removeprefix("sha256:"))
    return _Key(digest, _principal_of(entry, further))


def _principal_of(entry: KeyEntry | CertificateEntry, further: Sequence[Grant]) -> Principal:
    subject = Subject(entry.principal)
    return Principal(
        key_id=entry.id,
        name=entry.principal,
        roles=frozenset(entry.roles),
        grants=(*(table.template.bind(subject) for table in entry.tables), *further),
        rate_class=entry.rate_class,
        expires=entry.expires.timestamp() if entry.expires else math.inf,
    )
