"""Page tokens: golden vectors, and that only genuine tokens for this caller decrypt."""

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


def make_cipher(
    *keys: TokenKey, now: Callable[[], float] = lambda: NOW, lifetime: float = LIFETIME
) -> PageTokenCipher:
    """Return a cipher whose clock stands still by default."""
    return PageTokenCipher(keys or (NEW,), lifetime, now, Random(1).randbytes)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_tokens_are_as_they_were(vector: dict[str, Any]) -> None:
    """A fixed key, nonce and time give exactly this text, which decrypts to the payload."""
    cipher = PageTokenCipher(
        [TokenKey(vector["key_id"], bytes.fromhex(vector["key"]))],
        vector["lifetime"],
        lambda: vector["time"],
        lambda count: bytes.fromhex(vector["nonce"])[:count],
    )
    payload = TokenPayload(vector["cursor"].encode(), vector["index"], vector["returned"])
    context = vector["context"].encode()
    assert cipher.encrypt(payload, context) == vector["token"]
    assert cipher.decrypt(vector["token"], context) == payload


@given(
    st.binary(max_size=200),
    st.none() | st.text(min_size=3, max_size=50),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=50),
)
def test_an_encrypted_payload_decrypts(
    cursor: bytes, index: str | None, returned: int, context: bytes
) -> None:
    """It does so for any cursor, index, count and context."""
    payload = TokenPayload(cursor, index, returned)
    cipher = make_cipher()
    token = cipher.encrypt(payload, context)
    assert cipher.decrypt(token, context) == payload
    assert token.isascii()
    assert not set(token) & set("+/= \n"), "tokens travel in URLs and command lines"


def test_tokens_of_every_length_and_ending_decrypt() -> None:
    """The last character may be any; the longest token has the maximum length."""
    cipher = make_cipher()
    for length in range(3):
        payload = TokenPayload(b"p" * length, None, 0)
        tokens = [cipher.encrypt(payload, CONTEXT) for _ in range(300)]
        assert all(cipher.decrypt(token, CONTEXT) == payload for token in tokens)
    overhead = len(cipher.encrypt(TokenPayload(b"", None, 0), CONTEXT)) * 3 // 4
    payload = TokenPayload(b"p" * (MAX_TOKEN_CHARACTERS * 3 // 4 - overhead), None, 0)
    token = cipher.encrypt(payload, CONTEXT)
    assert len(token) == MAX_TOKEN_CHARACTERS
    assert cipher.decrypt(token, CONTEXT) == payload
    with pytest.raises(TokenTooLong):
        cipher.encrypt(replace(payload, cursor=payload.cursor + b"pp"), CONTEXT)


def test_tokens_of_equal_payloads_differ() -> None:
    """Each has a nonce of its own, by default from the system's random source."""
    cipher = PageTokenCipher([NEW], LIFETIME)
    tokens = {cipher.encrypt(PAYLOAD, CONTEXT) for _ in range(100)}
    assert len(tokens) == 100
    assert all(cipher.decrypt(token, CONTEXT) == PAYLOAD for token in tokens)


def test_tokens_do_not_reveal_their_payload() -> None:
    """Cursors contain keys of items, which a token must not reveal."""
    token = make_cipher().encrypt(PAYLOAD, CONTEXT)
    data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert PAYLOAD.cursor not in data
    assert b"by_user" not in data


@pytest.mark.parametrize("context", [b"", b"query and principal2", b"another", CONTEXT[:-1]])
def test_a_token_does_not_decrypt_in_another_context(context: bytes) -> None:
    """A token of another query or another caller is invalid."""
    cipher = make_cipher()
    with pytest.raises(InvalidToken):
        cipher.decrypt(cipher.encrypt(PAYLOAD, CONTEXT), context)


def test_altered_tokens_do_not_decrypt() -> None:
    """Flipped bits, exchanged characters, and cut or extended tokens are invalid."""
    cipher = make_cipher()
    token = cipher.encrypt(PAYLOAD, CONTEXT)
    data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    altered = [
        data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        for at in range(len(data))
        for bit in range(8)
    ]
    texts = [base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in altered]
    texts += [
        token[:at] + other + token[at + 1 :]
        for at in range(len(token))
        for other in "AQz9-_+/=é \0"
        if token[at] != other
    ]
    texts += [token[:length] for length in range(len(token))]
    texts += [token + tail for tail in ("A", "=", "==", "AAAA", " ", "\n", token)]
    texts += [token[:8] + "\n" * count + token[8:] for count in range(1, 9)]
    texts += [f" {token}", token.swapcase(), token.replace("_", "/").replace("-", "+") + "="]
    for text in texts:
        with pytest.raises(InvalidToken):
            cipher.decrypt(text, CONTEXT)


@given(st.text() | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_arbitrary_text_does_not_decrypt(text: str) -> None:
    """It raises no other error either."""
    with pytest.raises(InvalidToken):
        make_cipher().decrypt(text, CONTEXT)


@pytest.mark.parametrize("length", [MAX_TOKEN_CHARACTERS, MAX_TOKEN_CHARACTERS + 1, 10_000_000])
def test_long_texts_do_not_decrypt(length: int) -> None:
    """More than 512 KiB are refused without decoding."""
    with pytest.raises(InvalidToken):
        make_cipher().decrypt("A" * length, CONTEXT)


def test_tokens_expire() -> None:
    """A token that is a second too old gets another error than an invalid one."""
    token = make_cipher().encrypt(PAYLOAD, CONTEXT)
    assert make_cipher(now=lambda: NOW + LIFETIME - 1).decrypt(token, CONTEXT) == PAYLOAD
    late = make_cipher(now=lambda: NOW + LIFETIME)
    with pytest.raises(ExpiredToken):
        late.decrypt(token, CONTEXT)
    with pytest.raises(InvalidToken):
        late.decrypt(token, b"another context")


def test_keys_rotate() -> None:
    """The first key encrypts, every key decrypts, and a removed key decrypts nothing."""
    before = make_cipher(OLD).encrypt(PAYLOAD, CONTEXT)
    both = make_cipher(NEW, OLD)
    assert both.decrypt(before, CONTEXT) == PAYLOAD
    after = both.encrypt(PAYLOAD, CONTEXT)
    assert make_cipher(NEW).decrypt(after, CONTEXT) == PAYLOAD
    for cipher, token in ((make_cipher(NEW), before), (make_cipher(OLD), after)):
        with pytest.raises(InvalidToken):
            cipher.decrypt(token, CONTEXT)


def test_a_key_encrypts_from_its_time_on() -> None:
    """It decrypts before, so that replicas with other clocks and other delays agree."""
    clock = [NOW]
    later = replace(NEW, encrypts_from=NOW + 60)
    cipher = make_cipher(later, OLD, now=lambda: clock[0])
    for passed, key in ((0.0, OLD), (59.9, OLD), (60.0, NEW), (1e6, NEW)):
        clock[0] = NOW + passed
        token = cipher.encrypt(PAYLOAD, CONTEXT)
        assert make_cipher(key, now=lambda: clock[0]).decrypt(token, CONTEXT) == PAYLOAD
        assert cipher.decrypt(token, CONTEXT) == PAYLOAD
    early = make_cipher(NEW).encrypt(PAYLOAD, CONTEXT)
    assert make_cipher(later, OLD).decrypt(early, CONTEXT) == PAYLOAD


def test_a_key_that_is_alone_encrypts_before_its_time() -> None:
    """The last key always encrypts: a server without any could serve no page."""
    alone = make_cipher(replace(NEW, encrypts_from=NOW + 60))
    assert make_cipher(NEW).decrypt(alone.encrypt(PAYLOAD, CONTEXT), CONTEXT) == PAYLOAD


def test_other_keys_are_used_at_once() -> None:
    """Tokens of a key that stays are valid as before."""
    cipher = make_cipher(OLD)
    before = cipher.encrypt(PAYLOAD, CONTEXT)
    cipher.use((NEW, OLD))
    assert cipher.decrypt(before, CONTEXT) == PAYLOAD
    after = cipher.encrypt(PAYLOAD, CONTEXT)
    cipher.use((NEW,))
    assert cipher.decrypt(after, CONTEXT) == PAYLOAD
    with pytest.raises(InvalidToken):
        cipher.decrypt(before, CONTEXT)


def test_a_key_does_not_show_itself() -> None:
    """A key may be part of an error that is logged."""
    assert "nnnn" not in repr(NEW)


def test_a_key_of_the_same_name_is_not_the_same_key() -> None:
    """The name only selects the key to try."""
    token = make_cipher(TokenKey("k", b"1" * 32)).encrypt(PAYLOAD, CONTEXT)
    with pytest.raises(InvalidToken):
        make_cipher(TokenKey("k", b"2" * 32)).decrypt(token, CONTEXT)
