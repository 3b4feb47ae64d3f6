"""Freshness tokens: the times that an answer stands for, encrypted by this service.

A token is base64url(version | key id | nonce | AES-256-GCM-SIV(stamp)). It is bound to no caller,
query or table: it has times, and digests by which pages are recognized. Its keys are derived from
the token keys, so that no page token is a freshness token.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from math import inf
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dynamodb_processor_server.query.page_token import (
    InvalidToken,
    TokenKey,
    decode_base64,
    encrypting_key,
)
from dynamodb_processor_server.runtime.rotating_cipher import DecryptionError, RotatingCipher

#: Bytes of the name of a replica; it is random.
REPLICA_BYTES: Final = 8
NONCE_BYTES: Final = 12
PAGES_BYTES: Final = 32
#: A stamp: `until`, `disclosed`, `replica`, `pages`. Tokens of all answers have one length.
STAMP: Final = struct.Struct(f">dd{REPLICA_BYTES}s{PAGES_BYTES}s")

_INFO: Final = b"dynamodb-processor freshness token v1"
_VERSION: Final = 1
_MAX_CHARACTERS: Final = 1_024  # with a key id of 255 bytes it has 460


class FreshnessStamp(NamedTuple):
    """The content of a token. Times are seconds since the epoch by the clock of `replica`.

    Attributes:
        until: When the latest data of the answer can have been read.
        disclosed: The same, as far as the caller may learn it: under a row rule that hides writes,
            the time of the answer.
        replica: The name of the replica that answered.
        pages: The digests of the one or two stored pages that the answer consists of, 16 bytes
            each; zeros in the place of those that it has not.
    """

    until: float
    disclosed: float
    replica: bytes
    pages: bytes = bytes(PAGES_BYTES)


class FreshnessBound(NamedTuple):
    """The bound of a call, which the token of its answer has to cover.

    `until` is its time by the clock of this replica, margins included. It is that of `stamp`, where
    that is not None: the bound is then the stamp of one `token` alone, with `margin` seconds more.
    """

    until: float
    stamp: FreshnessStamp | None = None
    margin: float = 0.0
    token: str = ""


class SealingKey(NamedTuple):
    """The key that encrypts before a time `until`, in seconds since the epoch."""

    header: bytes
    encrypt: Callable[[bytes, bytes, bytes | None], bytes]
    until: float


class FreshnessTokenCipher:
    """Gives the key that encrypts tokens now, and decrypts those of any key."""

    def __init__(
        self, keys: Sequence[TokenKey], random_bytes: Callable[[int], bytes] = os.urandom
    ) -> None:
        self.random_bytes = random_bytes
        self.use(keys)

    def use(self, keys: Sequence[TokenKey]) -> None:
        """Use other keys from now on."""
        named = [(_header(key.key_id), _derived(key)) for key in keys]
        self._cipher = RotatingCipher(named, self.random_bytes)
        self._keys = keys
        #: The last key of `sealing_key`; before its first use it is one that has expired.
        self.key = SealingKey(b"", _no_encryption, -inf)

    def sealing_key(self, now: float) -> SealingKey:
        """Return the key that encrypts now, and keep it as `key`."""
        header, cipher = self._cipher.key(encrypting_key(self._keys, now))
        later = (key.encrypts_from for key in self._keys if key.encrypts_from > now)
        until = min(later, default=inf)
        self.key = SealingKey(header, cipher.encrypt, until)
        return self.key

    def decrypt(self, token: str) -> FreshnessStamp:
        """Return the stamp of a token. Raises InvalidToken."""
        if len(token) > _MAX_CHARACTERS:
            raise InvalidToken
        try:
            clear = self._cipher.decrypt(decode_base64(token), b"")
        except DecryptionError:
            raise InvalidToken from None
        return FreshnessStamp(*STAMP.unpack(clear))


def _header(key_id: str) -> bytes:
    name = key_id.encode()
    return bytes((_VERSION, len(name))) + name


def _derived(key: TokenKey) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=_INFO).derive(key.secret)


def _no_encryption(_nonce: bytes, _data: bytes, _associated: bytes | None) -> bytes:
    raise AssertionError("no key has been chosen")
