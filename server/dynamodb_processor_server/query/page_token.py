"""Page tokens: cursors encrypted so that only this service can create or read them.

A token is base64url(version | key id | nonce | AES-256-GCM-SIV(payload)). The associated data binds
the version, the key id and the context that the caller of this module passes (principal, table,
query). So decryption fails for a token that was altered or belongs to another query or principal,
and all these cases fail alike.
"""

from __future__ import annotations

import base64
import binascii
import os
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final

from dynamodb_processor_server.runtime.rotating_cipher import DecryptionError, RotatingCipher

# Fifty partitions with keys of 2 KB and 1 KB, on an index and the table, take 430,000 characters.
# With one such token, a page of 3.5 MB is still a message that clients accept.
MAX_TOKEN_CHARACTERS: Final = 512 * 1024
_VERSION: Final = 1
# The two characters that differ in the URL-safe alphabet; the usual ones become invalid.
_FROM_URL_SAFE: Final = bytes.maketrans(b"-_+/", b"+/!!")
# The last characters a token may have, by its length modulo 4: only bits of whole bytes are set.
_LAST_CHARACTERS: Final = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
    b"",
    b"AQgw",
    b"AEIMQUYcgkosw048",
)
_PAYLOAD: Final = struct.Struct(">QQH")


class InvalidToken(Exception):
    """The service did not create the token for this query and principal."""


class TokenTooLong(Exception):
    """The token for a cursor would be longer than `decrypt` accepts."""


class ExpiredToken(Exception):
    """The token is genuine, but its lifetime is over."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key of 32 bytes, and the short name in a token that tells which key encrypted it.

    `encrypts_from` is the time from which it may encrypt, in seconds since the epoch. It decrypts
    from the beginning: all replicas have to know a key before one of them encrypts with it.
    """

    key_id: str
    secret: bytes = field(repr=False)
    encrypts_from: float = -inf


def encrypting_key(keys: Sequence[TokenKey], now: float) -> int:
    """Return the index of the key that encrypts: the first whose time has come, else the last."""
    ready = (index for index, key in enumerate(keys) if key.encrypts_from <= now)
    return next(ready, len(keys) - 1)


@dataclass(frozen=True, slots=True)
class TokenPayload:
    """The state of a read at the end of a page.

    `cursor` is opaque here (see `cursor.py`). `index` is the index that the read is pinned to, None
    for the base table. `returned` counts the items returned so far. `expires` is the expiry of the
    token that this payload was decrypted from, in seconds since the epoch.
    """

    cursor: bytes
    index: str | None
    returned: int
    expires: int = field(default=0, compare=False)


class PageTokenCipher:
    """Encrypts with the first key whose time has come, and decrypts with any key.

    `lifetime` is in seconds. `now` returns seconds since the epoch, `random_bytes` is `os.urandom`.
    """

    def __init__(
        self,
        keys: Sequence[TokenKey],
        lifetime: float,
        now: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._lifetime = lifetime
        self._now = now
        self._random_bytes = random_bytes
        self.use(keys)

    def use(self, keys: Sequence[TokenKey]) -> None:
        """Use other keys from now on."""
        named = ((_header(key.key_id), key.secret) for key in keys)
        self._cipher = RotatingCipher(named, self._random_bytes)
        self._keys = keys

    def encrypt(self, payload: TokenPayload, context: bytes) -> str:
        """Return a token for `payload` that decrypts only with the same `context`.

        Raises TokenTooLong for a token longer than `decrypt` accepts.
        """
        now = self._now()
        expires = int(now + self._lifetime)
        index = b"" if payload.index is None else payload.index.encode()
        clear = _PAYLOAD.pack(expires, payload.returned, len(index)) + index + payload.cursor
        key = encrypting_key(self._keys, now)
        encrypted = self._cipher.encrypt(clear, context, key)
        token = base64.urlsafe_b64encode(encrypted).rstrip(b"=").decode()
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise TokenTooLong
        return token

    def decrypt(self, token: str, context: bytes) -> TokenPayload:
        """Return the payload of a token. Raises InvalidToken or ExpiredToken."""
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise InvalidToken
        try:
            clear = self._cipher.decrypt(decode_base64(token), context)
        except DecryptionError:
            raise InvalidToken from None
        expires, returned, index_bytes = _PAYLOAD.unpack_from(clear)
        if expires <= self._now():
            raise ExpiredToken
        body = clear[_PAYLOAD.size :]
        index = body[:index_bytes].decode() or None
        return TokenPayload(body[index_bytes:], index, returned, expires)


def _header(key_id: str) -> bytes:
    name = key_id.encode()
    return bytes((_VERSION, len(name))) + name


def decode_base64(token: str) -> bytes:
    """Return the bytes of a token. Raises InvalidToken."""
    try:
        text = token.encode("ascii")
        padded = text.translate(_FROM_URL_SAFE, b"") + b"=" * (-len(text) % 4)
        data = binascii.a2b_base64(padded, strict_mode=True)
    except (binascii.Error, ValueError):
        raise InvalidToken from None
    # Base64 leaves spare bits in the last character; only the spelling of `encrypt` is valid.
    if text[-1:] not in _LAST_CHARACTERS[len(text) % 4]:
        raise InvalidToken
    return data
