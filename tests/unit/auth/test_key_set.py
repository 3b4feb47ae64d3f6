"""Key sets of issuers: the keys that are used, and contents that are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey

from dynamodb_processor_server.auth.bearer.key_set import KeySet, KeySetError
from tests.support.tokens import SigningKey, key_set


def of(*keys: Any) -> bytes:
    """Return a key set with these entries."""
    return json.dumps({"keys": keys}).encode()


def test_keys_are_found_by_their_id() -> None:
    """Private members are not held, even if the issuer publishes them."""
    first, second = SigningKey("a"), SigningKey("b")
    private = {**second.key.as_dict(private=True), "kid": "b"}
    keys = KeySet(of(first.public, private))
    found = keys.find("b")
    assert found is not None
    assert not found.is_private
    assert keys.find("a") is not None
    assert len(keys) == 2
    for absent in (None, "c", 7, ["a"]):
        assert keys.find(absent) is None


def test_other_keys_are_left_out() -> None:
    """A key set may have keys for other purposes, of other kinds, or that are too weak."""
    good = SigningKey("good")
    others = [
        {**SigningKey("enc").public, "use": "enc"},
        {**OctKey.generate_key(256).as_dict(), "kid": "secret"},
        {"kty": "unheard-of", "kid": "x"},
        {"kty": "EC", "crv": "P-256", "x": "??", "y": 7, "kid": "broken"},
        {"kty": ["EC"], "kid": "odd"},
        "text",
        None,
        {"kty": "RSA", "kid": "short", "e": "AQAB", "n": "v" * 170},
        {"kty": "RSA", "kid": "long", "e": "AQAB", "n": "v" * 1_400},
    ]
    keys = KeySet(of(*others, good.public))
    assert len(keys) == 1
    assert keys.find(None) is keys.find("good")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not JSON"),
        (b"<html></html>", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is no key set"),
        (b"{}", "is no key set"),
        (b'{"keys": {}}', "is no key set"),
        (b'{"keys": []}', "has no public RSA or EC key"),
        (of({"kty": "oct", "k": "c2VjcmV0"}), "has no public RSA or EC key"),
        (of(*[{}] * 101), "has more than 100 keys"),
        (b" " * (256 * 1024 + 1), "has more than 262144 bytes"),
    ],
)
def test_contents_that_are_no_key_set_are_refused(content: bytes, reason: str) -> None:
    """The reason never has the content."""
    with pytest.raises(KeySetError) as caught:
        KeySet(content)
    assert str(caught.value).startswith(reason)


def test_equal_contents_are_equal_key_sets() -> None:
    """So a refresh without a change keeps the tokens that are verified."""
    first, second = key_set(SigningKey()), key_set(SigningKey(key=ECKey.generate_key("P-256")))
    assert KeySet(first) == KeySet(first)
    assert hash(KeySet(first)) == hash(KeySet(first))
    assert KeySet(first) != KeySet(second)
    assert KeySet(first) != first
