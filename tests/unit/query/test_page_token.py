"""Page tokens: golden vectors, and that only what was sealed here for this caller opens."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as FilePath
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.query.page_token import (
    MAX_TOKEN_CHARACTERS,
    ExpiredToken,
    InvalidToken,
    PageTokenCipher,
    TokenKey,
    TokenPayload,
    TokenTooLong,
)

FILE: Final = FilePath(__file__).parents[2] / "cases" / "tokens.json"
VECTORS: Final[list[dict[str, Any]]] = json.loads(FILE.read_text(encoding="utf-8"))["tokens"]

OLD, NEW = TokenKey("old", b"o" * 32), TokenKey("new", b"n" * 32)
PAYLOAD = TokenPayload(b'[{"id":{"S":"a"}}]', "by_user", 7)
CONTEXT = b"query and principal"
NOW = 1_750_000_000.0
LIFETIME = 3_600.0


def make_sealer(
    *keys: TokenKey, now: Callable[[], float] = lambda: NOW, lifetime: float = LIFETIME
) -> PageTokenCipher:
    """Return a sealer whose clock stands still unless told otherwise."""
    return PageTokenCipher(keys or (NEW,), lifetime, now, Random(1).randbytes)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_tokens_are_as_they_were(vector: dict[str, Any]) -> None:
    """A fixed key, nonce and time give exactly this text, which opens to what went in."""
    sealer = PageTokenCipher(
        [TokenKey(vector["key_id"], bytes.fromhex(vector["key"]))],
        vector["lifetime"],
        lambda: vector["time"],
        lambda count: bytes.fromhex(vector["nonce"])[:count],
    )
    payload = TokenPayload(vector["position"].encode(), vector["index"], vector["returned"])
    context = vector["context"].encode()
    assert sealer.encrypt(payload, context) == vector["sealed"]
    assert sealer.decrypt(vector["sealed"], context) == payload


@given(
    st.binary(max_size=200),
    st.none() | st.text(min_size=3, max_size=50),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=50),
)
def test_what_is_sealed_opens(
    position: bytes, index: str | None, returned: int, context: bytes
) -> None:
    """Any position, index, count and context."""
    payload = TokenPayload(position, index, returned)
    sealer = make_sealer()
    token = sealer.encrypt(payload, context)
    assert sealer.decrypt(token, context) == payload
    assert token.isascii()
    assert not set(token) & set("+/= \n"), "tokens travel in URLs and command lines"


def test_tokens_of_every_length_and_ending_open() -> None:
    """The last character may be any; the longest has as many characters as are looked at."""
    sealer = make_sealer()
    for length in range(3):
        payload = TokenPayload(b"p" * length, None, 0)
        tokens = [sealer.encrypt(payload, CONTEXT) for _ in range(300)]
        assert all(sealer.decrypt(token, CONTEXT) == payload for token in tokens)
    overhead = len(sealer.encrypt(TokenPayload(b"", None, 0), CONTEXT)) * 3 // 4
    payload = TokenPayload(b"p" * (MAX_TOKEN_CHARACTERS * 3 // 4 - overhead), None, 0)
    token = sealer.encrypt(payload, CONTEXT)
    assert len(token) == MAX_TOKEN_CHARACTERS
    assert sealer.decrypt(token, CONTEXT) == payload
    with pytest.raises(TokenTooLong):
        sealer.encrypt(replace(payload, cursor=payload.cursor + b"pp"), CONTEXT)


def test_tokens_differ_though_they_say_the_same() -> None:
    """Each has a nonce of its own, by default from the system's random source."""
    sealer = PageTokenCipher([NEW], LIFETIME)
    tokens = {sealer.encrypt(PAYLOAD, CONTEXT) for _ in range(100)}
    assert len(tokens) == 100
    assert all(sealer.decrypt(token, CONTEXT) == PAYLOAD for token in tokens)


def test_tokens_do_not_show_what_they_hold() -> None:
    """Positions are keys of items, which are no business of whoever sees a token."""
    token = make_sealer().encrypt(PAYLOAD, CONTEXT)
    data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert PAYLOAD.cursor not in data
    assert b"by_user" not in data


@pytest.mark.parametrize("context", [b"", b"query and principal2", b"another", CONTEXT[:-1]])
def test_another_context_does_not_open(context: bytes) -> None:
    """Another query's or another caller's token is as good as none."""
    sealer = make_sealer()
    with pytest.raises(InvalidToken):
        sealer.decrypt(sealer.encrypt(PAYLOAD, CONTEXT), context)


def test_altered_tokens_do_not_open() -> None:
    """Each bit of the bytes flipped, each character exchanged, cut anywhere, or extended."""
    sealer = make_sealer()
    token = sealer.encrypt(PAYLOAD, CONTEXT)
    data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    altered = [
        data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
        for place in range(len(data))
        for bit in range(8)
    ]
    texts = [base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in altered]
    texts += [
        token[:place] + other + token[place + 1 :]
        for place in range(len(token))
        for other in "AQz9-_+/=é \0"
        if token[place] != other
    ]
    texts += [token[:length] for length in range(len(token))]
    texts += [token + tail for tail in ("A", "=", "==", "AAAA", " ", "\n", token)]
    texts += [token[:8] + "\n" * count + token[8:] for count in range(1, 9)]
    texts += [f" {token}", token.swapcase(), token.replace("_", "/").replace("-", "+") + "="]
    for text in texts:
        with pytest.raises(InvalidToken):
            sealer.decrypt(text, CONTEXT)


@given(st.text() | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_arbitrary_text_does_not_open(text: str) -> None:
    """Nor does it raise anything else."""
    with pytest.raises(InvalidToken):
        make_sealer().decrypt(text, CONTEXT)


@pytest.mark.parametrize("length", [MAX_TOKEN_CHARACTERS, MAX_TOKEN_CHARACTERS + 1, 10_000_000])
def test_long_texts_do_not_open(length: int) -> None:
    """More than 512 KiB are not even looked at."""
    with pytest.raises(InvalidToken):
        make_sealer().decrypt("A" * length, CONTEXT)


def test_tokens_expire() -> None:
    """A second too late is told apart from a token that was never good."""
    token = make_sealer().encrypt(PAYLOAD, CONTEXT)
    assert make_sealer(now=lambda: NOW + LIFETIME - 1).decrypt(token, CONTEXT) == PAYLOAD
    late = make_sealer(now=lambda: NOW + LIFETIME)
    with pytest.raises(ExpiredToken):
        late.decrypt(token, CONTEXT)
    with pytest.raises(InvalidToken):
        late.decrypt(token, b"another context")


def test_keys_rotate() -> None:
    """The first key seals, every key opens, and a key that is gone opens nothing."""
    before = make_sealer(OLD).encrypt(PAYLOAD, CONTEXT)
    both = make_sealer(NEW, OLD)
    assert both.decrypt(before, CONTEXT) == PAYLOAD
    after = both.encrypt(PAYLOAD, CONTEXT)
    assert make_sealer(NEW).decrypt(after, CONTEXT) == PAYLOAD
    for sealer, token in ((make_sealer(NEW), before), (make_sealer(OLD), after)):
        with pytest.raises(InvalidToken):
            sealer.decrypt(token, CONTEXT)


def test_a_key_of_the_same_name_is_not_the_same_key() -> None:
    """The name only says which key to try."""
    token = make_sealer(TokenKey("k", b"1" * 32)).encrypt(PAYLOAD, CONTEXT)
    with pytest.raises(InvalidToken):
        make_sealer(TokenKey("k", b"2" * 32)).decrypt(token, CONTEXT)
