"""Authenticated encryption with several keys, so that keys can be rotated."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16


class DecryptionError(Exception):
    """The data was not encrypted with one of the keys for this context."""


class RotatingCipher:
    """Encrypts with one key and decrypts with any key.

    Encrypted data is header | nonce | AES-256-GCM-SIV(data). The associated data binds the header,
    which names the key, and the context that the caller passes. So decryption fails alike for data
    that was altered, that belongs to another context, and that was encrypted with another key.
    """

    def __init__(
        self, keys: Iterable[tuple[bytes, bytes]], random_bytes: Callable[[int], bytes]
    ) -> None:
        """Create it.

        Args:
            keys: The header and the 32 secret bytes of each key. A header states its own length, so
                that none is the beginning of another.
            random_bytes: `os.urandom`.
        """
        self._keys = [(header, AESGCMSIV(secret)) for header, secret in keys]
        self._random_bytes = random_bytes

    def encrypt(self, data: bytes, context: bytes, key: int = 0) -> bytes:
        """Return data encrypted with the key of this index, for the same `context` only."""
        header, cipher = self._keys[key]
        nonce = self._random_bytes(_NONCE_BYTES)
        return header + nonce + cipher.encrypt(nonce, data, header + context)

    def key(self, key: int = 0) -> tuple[bytes, AESGCMSIV]:
        """Return the header and the cipher of a key, for code that encrypts by itself."""
        return self._keys[key]

    def decrypt(self, encrypted: bytes, context: bytes) -> bytes:
        """Return the data of `encrypt`. Raises DecryptionError."""
        for header, cipher in self._keys:
            start = len(header) + _NONCE_BYTES
            if encrypted.startswith(header) and len(encrypted) >= start + _TAG_BYTES:
                nonce = encrypted[len(header) : start]
                try:
                    return cipher.decrypt(nonce, encrypted[start:], header + context)
                except InvalidTag:
                    continue
        raise DecryptionError
