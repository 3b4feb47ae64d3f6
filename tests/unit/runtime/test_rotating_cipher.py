"""Encryption with several keys: the first encrypts, each decrypts, and no other data passes."""

from __future__ import annotations

import os

import pytest

from dynamodb_processor_server.runtime.rotating_cipher import DecryptionError, RotatingCipher

OLD, NEW = (b"\x03old", b"o" * 32), (b"\x03new", b"n" * 32)


def test_data_of_an_earlier_first_key_decrypts_after_a_rotation() -> None:
    """The header names the key, and the first key encrypts."""
    before, after = RotatingCipher([OLD], os.urandom), RotatingCipher([NEW, OLD], os.urandom)
    encrypted = before.encrypt(b"data", b"context")
    assert encrypted.startswith(OLD[0])
    assert b"data" not in encrypted
    assert after.decrypt(encrypted, b"context") == b"data"
    assert after.encrypt(b"data", b"context").startswith(NEW[0])
    with pytest.raises(DecryptionError):
        before.decrypt(after.encrypt(b"data", b"context"), b"context")


def test_the_nonce_follows_the_header() -> None:
    """The layout is header, nonce, and the encrypted data with its tag of 16 bytes."""
    cipher = RotatingCipher([OLD], lambda size: b"r" * size)
    encrypted = cipher.encrypt(b"", b"context")
    assert encrypted.startswith(OLD[0] + b"r" * 12)
    assert len(encrypted) == 4 + 12 + 16
    assert cipher.decrypt(encrypted, b"context") == b""


def test_altered_data_and_another_context_are_refused() -> None:
    """Each length and each changed byte is refused in the same way."""
    cipher = RotatingCipher([OLD], os.urandom)
    encrypted = cipher.encrypt(b"data", b"context")
    cases = [(encrypted, b"other"), (encrypted + b"x", b"context")]
    cases += [(encrypted[:length], b"context") for length in range(len(encrypted))]
    for index, byte in enumerate(encrypted):
        changed = encrypted[:index] + bytes((byte ^ 1,)) + encrypted[index + 1 :]
        cases.append((changed, b"context"))
    for data, context in cases:
        with pytest.raises(DecryptionError):
            cipher.decrypt(data, context)
