"""Tests of bearer tokens over a real socket: who is let in, and how each bad one is refused."""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import OctKey

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from tests.rpc.data import ULRIKE, events_catalog
from tests.rpc.granting import of
from tests.rpc.logged import Logged
from tests.rpc.token_calls import KEY, ROLES, read, refusal_of
from tests.support.key_server import KeyServer, open_key_server
from tests.support.lengths import PATIENCE
from tests.support.running import Service, eventually, make_key, open_service, query_spec, refused
from tests.support.tokens import AUDIENCE, ISSUER, SigningKey, Token, key_set, write_identity

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
_BYPASS: Final = query_pb2.CachePolicy(mode=query_pb2.CACHE_MODE_BYPASS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def issuer() -> AsyncIterator[KeyServer]:
    """The issuer's server of keys."""
    async with open_key_server(key_set(KEY)) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, events: str, issuer: KeyServer
) -> AsyncIterator[Service]:
    """A server that knows the issuer and one API key."""
    directory = tmp_path_factory.mktemp("service")
    write_identity(directory / "identity.yaml", ROLES, jwks_url=issuer.url)
    async with open_service(
        directory,
        dynamodb_local,
        events_catalog(events),
        [make_key("tester")],
        identity=directory / "identity.yaml",
    ) as running:
        yield running


async def test_a_token_gives_the_rows_of_its_claims(service: Service, logged: Logged) -> None:
    """The log names the principal and the token's id, never the token."""
    token = KEY.sign(roles=["tenant"], tenant="crm", jti="t-1")
    logged.secrets.add(token)
    whole = query_spec("events")
    page = await read(service, token, whole, cache=_BYPASS, page_size=1_000)
    assert {item.attributes["system_id"].s for item in page.items} == {"crm"}
    assert page.stats.index_used == "by_system"
    assert page.stats.items_scanned == page.stats.items_returned
    (record,) = await eventually(lambda: logged.of("call"))
    assert (record["principal"], record["key_id"]) == ("idp:alice", "idp:t-1")


_NOW: Final = int(time.time())
_CLAIMS: Final = {"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "exp": _NOW + 600, "roles": "all"}


def _with_secret() -> str:
    """Return a token signed with a shared secret."""
    header = {"alg": "HS256", "kid": "k1"}
    return jwt.encode(header, _CLAIMS, OctKey.generate_key(256), algorithms=["HS256"])


def _unsigned() -> str:
    """Return a token with the algorithm none, which has no signature."""
    header = urlsafe_b64encode(b'{"alg":"none","kid":"k1"}').decode().rstrip("=")
    return f"{header}.{KEY.sign(roles='all').split('.')[1]}."


@pytest.mark.parametrize(
    ("token", "reason", "text"),
    [
        (_unsigned(), "BEARER_TOKEN_INVALID", "algorithm that is not allowed"),
        (_with_secret(), "BEARER_TOKEN_INVALID", "algorithm that is not allowed"),
        (KEY.sign(iss="https://other/"), "BEARER_TOKEN_ISSUER", "issuer that is not accepted"),
        (KEY.sign(aud="other"), "BEARER_TOKEN_AUDIENCE", "is not for this service"),
        (SigningKey("k1").sign(), "BEARER_TOKEN_INVALID", "signature"),
        (KEY.sign(exp=_NOW - 60), "BEARER_TOKEN_EXPIRED", "has expired"),
        (KEY.sign(nbf=_NOW + 600), "BEARER_TOKEN_NOT_YET_VALID", "is not valid yet"),
        (KEY.sign(exp=None), "BEARER_TOKEN_CLAIM", "lacks the claim exp"),
        (KEY.sign(sub=None), "BEARER_TOKEN_CLAIM", "has no claim sub"),
        (KEY.sign(roles="tenant"), "BEARER_TOKEN_CLAIM", "${claims.tenant} is missing"),
        (KEY.sign(roles="tenant", tenant={}), "BEARER_TOKEN_CLAIM", "${claims.tenant} is not"),
        (KEY.sign({"kid": "unknown"}), "BEARER_TOKEN_KEY", "names a key that its issuer does"),
        ("a.b.c", "BEARER_TOKEN_INVALID", "is no JSON Web Token"),
    ],
)
async def test_a_bad_token_is_refused(
    service: Service, logged: Logged, token: str, reason: str, text: str
) -> None:
    """One line of the log says why, without the token, and the server goes on."""
    logged.secrets.add(token)
    refusal = await refusal_of(service, token)
    assert refusal.reason == reason
    assert text in refusal.message
    lines = await eventually(lambda: [one for one in logged.records if one["event"] == "call"])
    assert [line["reason"] for line in lines] == [reason]
    assert [one for one in logged.records if one["event"] != "call"] == []
    assert (await service.query(of(ULRIKE))).items


async def test_a_token_without_a_role_may_not_call(service: Service) -> None:
    """The caller is known, but has no rights."""
    refusal = await refused(read(service, KEY.sign()))
    assert refusal.code is Code.PERMISSION_DENIED
    assert "needs the role reader" in refusal.message


async def test_a_claim_that_the_table_cannot_have_is_denied(service: Service) -> None:
    """The key is a number, and this claim a text; a number is fine."""
    token = KEY.sign(roles="since", since="yesterday")
    refusal = await refused(read(service, token))
    assert refusal.code is Code.PERMISSION_DENIED
    assert "do not fit the access rule of table events" in refusal.message
    page = await read(service, KEY.sign(roles="since", since=248))
    assert [item.attributes["at"].n for item in page.items] == ["249", "250"]


@pytest.mark.parametrize(
    "tenant", ["crm\u0000", "crm ", "CRM", "\uff43rm", "x" * 2_049, "x" * 4_000]
)
async def test_a_claim_that_no_key_has_gives_no_rows(service: Service, tenant: str) -> None:
    """Values that only resemble another tenant's are others; too long ones are no keys at all."""
    page = await read(service, KEY.sign(roles=["tenant"], tenant=tenant), query_spec("events"))
    assert (len(page.items), page.next_page_token) == (0, "")
    page = await read(service, KEY.sign(roles=["tenant"], tenant="crm"), query_spec("events"))
    assert page.items


async def test_api_keys_and_tokens_may_both_come_as_bearer(service: Service) -> None:
    """A token has three parts with dots between; any other text is an API key."""
    key = service.keys["tester"].text
    service.keys["bearer"] = Token(key, {})
    assert (await service.query(of(ULRIKE), key="bearer")).items
    both = (("authorization", f"Bearer {KEY.sign(roles='all')}"), ("x-api-key", key))
    call: Any = service.queries.Query(
        QueryRequest(query=of(ULRIKE)), metadata=both, timeout=PATIENCE
    )
    refusal = await refused(call)
    assert (refusal.code, refusal.reason) == (Code.UNAUTHENTICATED, "UNAUTHENTICATED")
    call = service.queries.Query(QueryRequest(query=of(ULRIKE)), timeout=PATIENCE)
    assert "no bearer token: send authorization: Bearer" in (await refused(call)).message


async def test_a_token_may_have_the_role_of_operators(service: Service) -> None:
    """Methods of the cache service need the method role admin of one of its roles."""
    service.keys["admin"] = Token(KEY.sign(roles="all"), {})
    await service.invalidate("events", key="admin")
    service.keys["tenant"] = Token(KEY.sign(roles="tenant", tenant="crm"), {})
    refusal = await refused(service.invalidate("events", key="tenant"))
    assert refusal.code is Code.PERMISSION_DENIED


async def test_a_new_key_is_found_when_a_token_names_it(
    service: Service, issuer: KeyServer
) -> None:
    """The earlier key is gone then, and its tokens are refused, cached or not."""
    old, new = KEY, SigningKey("k2")
    token = old.sign(roles="all")
    assert (await read(service, token)).items
    issuer.content = key_set(new)
    try:
        assert (await read(service, new.sign(roles="all"))).items
        assert (await refusal_of(service, token)).reason == "BEARER_TOKEN_KEY"
    finally:
        issuer.content = key_set(old)
    assert (await read(service, token)).items
