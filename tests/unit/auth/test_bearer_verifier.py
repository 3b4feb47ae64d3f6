"""Verification of bearer tokens: each way in which one can be invalid."""

from __future__ import annotations

import base64
import hmac
import json
import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from dynamodb_processor_server.auth.bearer.identity_file import IdentityFile
from dynamodb_processor_server.auth.bearer.key_set import KeySet
from dynamodb_processor_server.auth.bearer.verifier import Issuer, TokenVerifier
from dynamodb_processor_server.errors import BearerTokenRefused
from tests.support.tokens import AUDIENCE, ISSUER, SigningKey, identity, key_set

_KEY: Final = SigningKey()
_RSA: Final = SigningKey("r1", "RS256", RSAKey.generate_key(2_048))
_NOW: Final = time.time() + 600  # later than the making of any token here
_ROLES: Final = {"reader": {"tables": ["*"]}}


_JSON: Final = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner)
    ),
    max_leaves=5,
)


async def no_refresh() -> None:
    """Read no keys."""


def verifier(keys: KeySet | None = None, **issuer: Any) -> TokenVerifier:
    """Return a verifier of tokens by the two keys."""
    content = identity(_ROLES, jwks_file="keys.json", algorithms=["ES256", "RS256"], **issuer)
    (entry,) = IdentityFile.model_validate(content).issuers
    return TokenVerifier([Issuer(entry, keys or KeySet(key_set(_KEY, _RSA)), no_refresh)])


def refusal(token: str, now: float = _NOW, **issuer: Any) -> BearerTokenRefused:
    """Return the error for a token."""
    with pytest.raises(BearerTokenRefused) as caught:
        verifier(**issuer).verify(token, now)
    error = caught.value
    assert not token or token not in error.message
    return error


def signed(claims: dict[str, Any]) -> str:
    """Return a token with some claims."""
    return _KEY.sign(**claims)


def unsigned(header: Any, claims: Any, signature: str = "") -> str:
    """Return a token with any content and signature."""
    parts = (
        base64.urlsafe_b64encode(json.dumps(one).encode()).decode() for one in (header, claims)
    )
    return ".".join([*(part.rstrip("=") for part in parts), signature])


@pytest.mark.parametrize("key", [_KEY, _RSA])
def test_a_valid_token_has_its_claims(key: SigningKey) -> None:
    """It ends at its claim `exp`, plus the leeway."""
    token = key.sign(exp=int(_NOW) + 60, tenant="acme", aud=["other", AUDIENCE])
    found = verifier(leeway="10s").verify(token, _NOW)
    assert found.claims["tenant"] == "acme"
    assert found.expires == int(_NOW) + 70
    assert found.issuer.id == "idp"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (_KEY.sign(iss="https://other.example.com/"), "BEARER_TOKEN_ISSUER"),
        (_KEY.sign(iss=None), "BEARER_TOKEN_ISSUER"),
        (_KEY.sign(iss=[ISSUER]), "BEARER_TOKEN_ISSUER"),
        (_KEY.sign(aud="other"), "BEARER_TOKEN_AUDIENCE"),
        (_KEY.sign(aud=None), "BEARER_TOKEN_AUDIENCE"),
        (_KEY.sign(aud=[]), "BEARER_TOKEN_AUDIENCE"),
        (_KEY.sign(aud=[["dynamodb-processor"], 7]), "BEARER_TOKEN_AUDIENCE"),
        (_KEY.sign(exp=int(_NOW) - 40), "BEARER_TOKEN_EXPIRED"),
        (_KEY.sign(nbf=int(_NOW) + 60), "BEARER_TOKEN_NOT_YET_VALID"),
        (_KEY.sign(iat=int(_NOW) + 60), "BEARER_TOKEN_NOT_YET_VALID"),
        (_KEY.sign(exp=None), "BEARER_TOKEN_CLAIM"),
        (_KEY.sign(exp="soon"), "BEARER_TOKEN_CLAIM"),
        (_KEY.sign(exp=True), "BEARER_TOKEN_CLAIM"),
        (_KEY.sign(exp=1e300), "BEARER_TOKEN_CLAIM"),
        (_KEY.sign(exp=-1e300), "BEARER_TOKEN_CLAIM"),
        (_KEY.sign(exp=float("inf")), "BEARER_TOKEN_INVALID"),
        (_KEY.sign(tenant=float("nan")), "BEARER_TOKEN_INVALID"),
        (_KEY.sign(exp=10**400), "BEARER_TOKEN_CLAIM"),
        (_KEY.sign(nbf=[1]), "BEARER_TOKEN_CLAIM"),
        (_KEY.sign({"kid": "unknown"}), "BEARER_TOKEN_KEY"),
        (_KEY.sign({"kid": None}), "BEARER_TOKEN_KEY"),
        (SigningKey("k1").sign(), "BEARER_TOKEN_INVALID"),
        (_KEY.sign({"kid": "r1"}), "BEARER_TOKEN_INVALID"),
        (SigningKey("k1", "ES384", ECKey.generate_key("P-384")).sign(), "BEARER_TOKEN_INVALID"),
        ("", "BEARER_TOKEN_INVALID"),
        ("a.b.c", "BEARER_TOKEN_INVALID"),
        ("..", "BEARER_TOKEN_INVALID"),
        ("ä.b.c", "BEARER_TOKEN_INVALID"),
        (f"{'a' * 20_000}.b.c", "BEARER_TOKEN_INVALID"),
        (unsigned([], {}), "BEARER_TOKEN_INVALID"),
        (unsigned({"alg": "ES256"}, []), "BEARER_TOKEN_INVALID"),
        (unsigned({"alg": ["ES256"]}, {"iss": ISSUER}), "BEARER_TOKEN_INVALID"),
        (unsigned({"alg": "ES256", "kid": ["k1"]}, {"iss": ISSUER}), "BEARER_TOKEN_KEY"),
        (unsigned({"alg": "ES256", "kid": "k1"}, {"iss": ISSUER}, "AA"), "BEARER_TOKEN_INVALID"),
    ],
)  # fmt: skip
def test_an_invalid_token_is_refused_with_its_reason(token: str, reason: str) -> None:
    """The reason is machine-readable, and the text never has the token."""
    assert refusal(token).reason == reason


def signed_text(claims: str) -> str:
    """Return a token whose claims are a text, which may be no usual JSON."""
    header = {"alg": "ES256", "kid": "k1"}
    full = f'{{"iss": "{ISSUER}", "aud": "{AUDIENCE}", "exp": {int(_NOW) + 60}, {claims}}}'
    return jws.serialize_compact(header, full, _KEY.key, algorithms=["ES256"])


def test_numbers_in_claims_are_exact() -> None:
    """Two ids that one float would stand for stay two."""
    texts = ("9007199254740992.0", "9007199254740993.0", "0.1", "0.10000000000000000001", "1e22")
    found = [
        verifier().verify(signed_text(f'"tenant": {text}'), _NOW).claims["tenant"] for text in texts
    ]
    assert found == [Decimal(text) for text in texts]


def test_a_number_without_bound_is_refused() -> None:
    """Its exponent has more digits than Python's own limits."""
    token = signed_text('"tenant": 1e99999999999999999999')
    assert refusal(token).reason == "BEARER_TOKEN_INVALID"
    assert refusal(signed_text(f'"tenant": {"9" * 5_000}')).reason == "BEARER_TOKEN_INVALID"


def test_the_last_of_equal_claims_counts() -> None:
    """RFC 7519, section 4, allows this, or to refuse the token."""
    token = signed_text('"tenant": "a", "tenant": "b"')
    assert verifier().verify(token, _NOW).claims["tenant"] == "b"


def test_algorithm_none_is_never_accepted() -> None:
    """An unsigned token is refused, whatever its header says of the key."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "exp": int(_NOW) + 60}
    for algorithm in ("none", "None", "NONE"):
        token = unsigned({"alg": algorithm, "kid": "k1"}, claims)
        assert "algorithm that is not allowed" in refusal(token).message


def test_a_public_key_is_never_a_shared_secret() -> None:
    """A token that is signed with the text of the public key as a secret is refused."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "exp": int(_NOW) + 60}
    signed = unsigned({"alg": "HS256", "kid": "r1"}, claims).rstrip(".")
    mac = hmac.digest(_RSA.key.as_pem(private=False), signed.encode(), "sha256")
    token = f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
    assert "algorithm that is not allowed" in refusal(token).message


def test_critical_extensions_are_refused() -> None:
    """The service understands none (RFC 7515, section 4.1.11)."""
    registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    header = {"alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": True}
    claims = json.dumps({"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "exp": int(_NOW) + 60})
    token = jws.serialize_compact(header, claims, _KEY.key, registry=registry)
    assert refusal(token).reason == "BEARER_TOKEN_INVALID"


def test_a_changed_claim_breaks_the_signature() -> None:
    """Content is trusted only as it was signed."""
    header, _, signature = _KEY.sign().split(".")
    forged = unsigned({}, {"iss": ISSUER, "aud": AUDIENCE, "sub": "b", "exp": int(_NOW) + 60})
    token = ".".join([header, forged.split(".")[1], signature])
    assert "signature" in refusal(token).message


def test_clocks_may_differ_by_the_leeway() -> None:
    """It counts at both ends, and its end is refused."""
    end = int(_NOW) + 100
    token = _KEY.sign(nbf=end - 50, exp=end)
    check = verifier(leeway=10)
    assert check.verify(token, end - 60).expires == end + 10
    assert check.verify(token, end + 9.9).expires > end
    assert refusal(token, end - 60.1, leeway=10).reason == "BEARER_TOKEN_NOT_YET_VALID"
    assert refusal(token, end + 10, leeway=10).reason == "BEARER_TOKEN_EXPIRED"


def test_a_token_may_omit_the_key_id_of_the_only_key() -> None:
    """Where the issuer has several, it has to name one."""
    token = _KEY.sign({"kid": None})
    assert verifier(KeySet(key_set(_KEY))).verify(token, _NOW).claims["sub"] == "alice"


def test_a_token_without_keys_may_be_tried_again() -> None:
    """Its error offers the wait for the issuer's keys."""
    content = identity(_ROLES, jwks_file="keys.json")
    (entry,) = IdentityFile.model_validate(content).issuers
    check = TokenVerifier([Issuer(entry, None, no_refresh)])
    with pytest.raises(BearerTokenRefused, match="not available at the moment") as caught:
        check.verify(_KEY.sign(), _NOW)
    assert caught.value.retry_after_wait is no_refresh
    assert refusal(_KEY.sign({"kid": "new"})).retry_after_wait is no_refresh
    assert refusal(SigningKey("k1").sign()).retry_after_wait is None


_TEXTS: Final = st.one_of(
    st.text(max_size=60),
    st.lists(st.text(max_size=40), min_size=3, max_size=3).map(".".join),
    st.tuples(
        st.dictionaries(st.text(max_size=8), _JSON), st.dictionaries(st.text(max_size=8), _JSON)
    ).map(lambda parts: unsigned(*parts)),
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("alg", "kid", "crit", "b64", "typ"), _JSON)
    ).map(lambda header: unsigned({"alg": "ES256", **header}, {"iss": ISSUER}, "AAAA")),
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("iss", "aud", "exp", "nbf", "iat"), _JSON)
    ).map(signed),
)


@given(_TEXTS)
def test_any_text_is_verified_or_refused(token: str) -> None:
    """No text, header or signed claim raises another error."""
    with suppress(BearerTokenRefused):
        assert verifier().verify(token, _NOW).claims["iss"] == ISSUER


def test_each_issuer_has_keys_of_its_own() -> None:
    """A key of one issuer signs no token of another."""
    other = SigningKey("k2")
    file = IdentityFile.model_validate(
        {
            "roles": _ROLES,
            "issuers": [
                *identity({}, jwks_file="a")["issuers"],
                *identity({}, id="b", issuer="urn:b", jwks_file="b")["issuers"],
            ],
        }
    )
    first, second = file.issuers
    check = TokenVerifier(
        [
            Issuer(first, KeySet(key_set(_KEY)), no_refresh),
            Issuer(second, KeySet(key_set(other)), no_refresh),
        ]
    )
    assert check.verify(_KEY.sign(), _NOW).issuer is first
    assert check.verify(other.sign(iss="urn:b"), _NOW).issuer is second
    with pytest.raises(BearerTokenRefused, match="names a key that its issuer does not have"):
        check.verify(_KEY.sign(iss="urn:b"), _NOW)
    assert Path("a") == first.jwks_file
