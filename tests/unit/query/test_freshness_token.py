"""Freshness tokens: golden vectors, and that only tokens of this service decrypt."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from dynamodb_processor_server.query.freshness_token import (
    FreshnessStamp,
    FreshnessTokenCipher,
)
from dynamodb_processor_server.query.page_token import (
    InvalidToken,
    PageTokenCipher,
    TokenKey,
    TokenPayload,
)
from dynamodb_processor_server.rpc.page_cursors import FreshnessTokens

FILE: Final = Path(__file__).parents[2] / "cases" / "freshness_tokens.json"
VECTORS: Final[list[dict[str, Any]]] = json.loads(FILE.read_text(encoding="utf-8"))["tokens"]
OLD, NEW = TokenKey("old", b"o" * 32), TokenKey("new", b"n" * 32)
NOW: Final = 1_750_000_000.0
PAGE: Final = b"p" * 16


def make_tokens(*keys: TokenKey, now: float = NOW) -> FreshnessTokens:
    """Return a source of tokens whose clock stands still."""
    cipher = FreshnessTokenCipher(keys or (NEW,), Random(1).randbytes)
    return FreshnessTokens(cipher, 0.5, lambda: now)


def seal(tokens: FreshnessTokens) -> str:
    """Return a token."""
    return tokens.seal(NOW - 5.0, PAGE, hides_writes=False)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_tokens_are_as_they_were(vector: dict[str, Any]) -> None:
    """A fixed key, nonce and name of the replica give exactly this text, which decrypts again."""
    parts = [bytes.fromhex(vector["replica"]), bytes.fromhex(vector["nonce"])]
    key = TokenKey(vector["key_id"], bytes.fromhex(vector["key"]))
    cipher = FreshnessTokenCipher([key], lambda size: parts.pop(0))
    tokens = FreshnessTokens(cipher, 0.5, lambda: vector["time"])
    pages, hides_writes = bytes.fromhex(vector["pages"]), vector["hides_writes"]
    assert tokens.seal(vector["read_until"], pages, hides_writes=hides_writes) == vector["token"]
    assert cipher.decrypt(vector["token"]) == FreshnessStamp(
        vector["read_until"],
        vector["time"] if hides_writes else vector["read_until"],
        bytes.fromhex(vector["replica"]),
        pages.ljust(32, b"\0"),
    )


def test_a_token_says_when_its_answer_was_read() -> None:
    """It also has the name of the replica, and all tokens have one length."""
    tokens = make_tokens()
    token = seal(tokens)
    stamp = FreshnessStamp(NOW - 5.0, NOW - 5.0, tokens.replica, PAGE + bytes(16))
    assert tokens.cipher.decrypt(token) == stamp
    other = tokens.seal(float("inf"), b"", hides_writes=True)
    assert tokens.cipher.decrypt(other)[:2] == (NOW, NOW)
    assert len(other) == len(token)
    assert token.isascii()
    assert not set(token) & set("+/=., \n"), "tokens travel in URLs, and are joined with dots"


def test_a_changed_token_is_refused() -> None:
    """So is every text that is no token, and a page token with the same key."""
    tokens = make_tokens()
    token = seal(tokens)
    page_token = PageTokenCipher([NEW], 600.0).encrypt(TokenPayload(b"", None, 0), b"")
    for text in ("", "x", "ä", token[:-1], token + "A", "B" + token[1:], page_token, "A" * 5_000):
        with pytest.raises(InvalidToken):
            tokens.cipher.decrypt(text)
    with pytest.raises(InvalidToken):
        make_tokens(OLD).cipher.decrypt(token)


def test_old_tokens_decrypt_after_a_rotation() -> None:
    """A key seals from its time on, and all keys open."""
    clock = [NOW]
    cipher = FreshnessTokenCipher((replace(NEW, encrypts_from=NOW + 60.0), OLD))
    tokens = FreshnessTokens(cipher, 0.5, lambda: clock[0])
    before = seal(tokens)
    clock[0] += 60.0
    after = seal(tokens)
    assert make_tokens(OLD).cipher.decrypt(before)
    assert make_tokens(NEW).cipher.decrypt(after)
    assert tokens.cipher.decrypt(before) == tokens.cipher.decrypt(after)
    cipher.use((NEW,))
    assert make_tokens(NEW).cipher.decrypt(seal(tokens))
