"""The public keys of an issuer, from its JSON Web Key Set (JWKS, RFC 7517)."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any, Final, cast

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

#: Bytes of a key set; those of public issuers have 1 to 20 KB.
MAX_BYTES: Final = 256 * 1024
_MAX_KEYS: Final = 100
# Shorter keys can be broken (RFC 7518, section 3.3); a signature by a longer one takes long.
_RSA_BITS: Final = range(2_048, 8_192 + 1)
# The public members of a key; private ones, which do not belong there, are not even read.
_MEMBERS: Final = ("kty", "kid", "use", "alg", "n", "e", "crv", "x", "y")

PublicKey = RSAKey | ECKey


class KeySetError(Exception):
    """A key set cannot be had or used; the text says why, and never has its content."""


class KeySet:
    """The keys of an issuer that can verify signatures, by key id. Equal contents are equal."""

    def __init__(self, content: bytes) -> None:
        """Parse a key set; keys for other purposes, and unknown kinds of keys, are left out.

        Raises KeySetError.
        """
        self._digest = hashlib.sha256(content).digest()
        self._by_id: dict[str, PublicKey] = {}
        keys = [key for data in _entries(content) if (key := _key(data)) is not None]
        if not keys:
            raise KeySetError("has no public RSA or EC key that verifies signatures")
        # A token may name no key where there is only one.
        self._only = keys[0] if len(keys) == 1 else None
        for key in keys:
            self._by_id.setdefault(str(key.get("kid", "")), key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeySet) and other._digest == self._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, key_id: object) -> PublicKey | None:
        """Return the key that a token names by `key_id`, None if there is none."""
        if key_id is None:
            return self._only
        return self._by_id.get(key_id) if isinstance(key_id, str) else None


def _entries(content: bytes) -> list[Any]:
    if len(content) > MAX_BYTES:
        raise KeySetError(f"has more than {MAX_BYTES} bytes")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise KeySetError("is not JSON") from None
    entries = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(entries, list):
        raise KeySetError("is no key set: it has no list `keys`")
    if len(entries) > _MAX_KEYS:
        raise KeySetError(f"has more than {_MAX_KEYS} keys")
    return entries


def _key(data: Any) -> PublicKey | None:
    """Return the public key of an entry, None for one that verifies no signatures here."""
    if not isinstance(data, Mapping) or data.get("use", "sig") != "sig":
        return None
    public = {name: data[name] for name in _MEMBERS if name in data}
    try:
        match public.get("kty"):
            case "EC":
                return ECKey.import_key(cast("Any", public))
            case "RSA" if _bits(public["n"]) in _RSA_BITS:
                return RSAKey.import_key(cast("Any", public))
    except (JoseError, ValueError, TypeError, KeyError):
        pass
    return None


def _bits(number: str) -> int:
    """Return the number of bits of a number in base64url."""
    data = urlsafe_b64decode(number + "=" * (-len(number) % 4))
    return int.from_bytes(data).bit_length()
