"""Tests of bearer tokens over a real socket: who is let in, and how each bad one is refused."""

from __future__ import annotations

import asyncio
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import OctKey

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import (
    QueryRequest,
    QueryResponse,
    StreamQueryRequest,
)
from dynamodb_processor_server.auth.bearer.identity_file import IdentityFile
from dynamodb_processor_server.auth.bearer.tokens import BearerTokens, KeySetReading
from dynamodb_processor_server.rpc.interceptors.authentication import (
    Authentication,
    BearerAuthenticator,
)
from tests.rpc.data import ULRIKE, events_catalog
from tests.rpc.granting import of
from tests.rpc.hooked import Context, hooked
from tests.rpc.logged import Logged
from tests.support.key_server import KeyServer, open_key_server
from tests.support.lengths import PATIENCE
from tests.support.running import (
    Refusal,
    Service,
    eventually,
    make_key,
    open_service,
    query_spec,
    refused,
)
from tests.support.tokens import (
    AUDIENCE,
    ISSUER,
    SigningKey,
    Token,
    identity,
    key_set,
    write_identity,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
_KEY: Final = SigningKey()
_BYPASS: Final = query_pb2.CachePolicy(mode=query_pb2.CACHE_MODE_BYPASS)
_ROLES: Final = {
    "tenant": {"tables": [{"table": "events", "rule": "system_id = ${claims.tenant}"}]},
    "since": {"tables": [{"table": "events", "rule": "at > ${claims.since}"}]},
    "all": {"tables": ["*"], "methods": ["reader", "admin"]},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def issuer() -> AsyncIterator[KeyServer]:
    """The issuer's server of keys."""
    async with open_key_server(key_set(_KEY)) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, events: str, issuer: KeyServer
) -> AsyncIterator[Service]:
    """A server that knows the issuer and one API key."""
    directory = tmp_path_factory.mktemp("service")
    write_identity(directory / "identity.yaml", _ROLES, jwks_url=issuer.url)
    async with open_service(
        directory,
        dynamodb_local,
        events_catalog(events),
        [make_key("tester")],
        identity=directory / "identity.yaml",
    ) as running:
        yield running


async def read(
    service: Service, token: str, spec: QuerySpec | None = None, **fields: Any
) -> QueryResponse:
    """Return the first page of a query, by default of a user's events."""
    service.keys["token"] = Token(token, {})
    return await service.query(spec or of(ULRIKE), key="token", **fields)


async def refusal_of(service: Service, token: str) -> Refusal:
    """Return the refusal of a token, which must be UNAUTHENTICATED."""
    refusal = await refused(read(service, token))
    assert refusal.code is Code.UNAUTHENTICATED
    return refusal


async def test_a_token_gives_the_rows_of_its_claims(service: Service, logged: Logged) -> None:
    """The log names the principal and the token's id, never the token."""
    token = _KEY.sign(roles=["tenant"], tenant="crm", jti="t-1")
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
    return f"{header}.{_KEY.sign(roles='all').split('.')[1]}."


@pytest.mark.parametrize(
    ("token", "reason", "text"),
    [
        (_unsigned(), "BEARER_TOKEN_INVALID", "algorithm that is not allowed"),
        (_with_secret(), "BEARER_TOKEN_INVALID", "algorithm that is not allowed"),
        (_KEY.sign(iss="https://other/"), "BEARER_TOKEN_ISSUER", "issuer that is not accepted"),
        (_KEY.sign(aud="other"), "BEARER_TOKEN_AUDIENCE", "is not for this service"),
        (SigningKey("k1").sign(), "BEARER_TOKEN_INVALID", "signature"),
        (_KEY.sign(exp=_NOW - 60), "BEARER_TOKEN_EXPIRED", "has expired"),
        (_KEY.sign(nbf=_NOW + 600), "BEARER_TOKEN_NOT_YET_VALID", "is not valid yet"),
        (_KEY.sign(exp=None), "BEARER_TOKEN_CLAIM", "lacks the claim exp"),
        (_KEY.sign(sub=None), "BEARER_TOKEN_CLAIM", "has no claim sub"),
        (_KEY.sign(roles="tenant"), "BEARER_TOKEN_CLAIM", "${claims.tenant} is missing"),
        (_KEY.sign(roles="tenant", tenant={}), "BEARER_TOKEN_CLAIM", "${claims.tenant} is not"),
        (_KEY.sign({"kid": "unknown"}), "BEARER_TOKEN_KEY", "names a key that its issuer does"),
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
    refusal = await refused(read(service, _KEY.sign()))
    assert refusal.code is Code.PERMISSION_DENIED
    assert "needs the role reader" in refusal.message


async def test_a_claim_that_the_table_cannot_have_is_denied(service: Service) -> None:
    """The key is a number, and this claim a text; a number is fine."""
    token = _KEY.sign(roles="since", since="yesterday")
    refusal = await refused(read(service, token))
    assert refusal.code is Code.PERMISSION_DENIED
    assert "do not fit the access rule of table events" in refusal.message
    page = await read(service, _KEY.sign(roles="since", since=248))
    assert [item.attributes["at"].n for item in page.items] == ["249", "250"]


async def test_api_keys_and_tokens_may_both_come_as_bearer(service: Service) -> None:
    """A token has three parts with dots between; any other text is an API key."""
    key = service.keys["tester"].text
    service.keys["bearer"] = Token(key, {})
    assert (await service.query(of(ULRIKE), key="bearer")).items
    both = (("authorization", f"Bearer {_KEY.sign(roles='all')}"), ("x-api-key", key))
    call: Any = service.queries.Query(
        QueryRequest(query=of(ULRIKE)), metadata=both, timeout=PATIENCE
    )
    refusal = await refused(call)
    assert (refusal.code, refusal.reason) == (Code.UNAUTHENTICATED, "UNAUTHENTICATED")
    call = service.queries.Query(QueryRequest(query=of(ULRIKE)), timeout=PATIENCE)
    assert "no bearer token: send authorization: Bearer" in (await refused(call)).message


async def test_a_token_may_have_the_role_of_operators(service: Service) -> None:
    """Methods of the cache service need the method role admin of one of its roles."""
    service.keys["admin"] = Token(_KEY.sign(roles="all"), {})
    await service.invalidate("events", key="admin")
    service.keys["tenant"] = Token(_KEY.sign(roles="tenant", tenant="crm"), {})
    refusal = await refused(service.invalidate("events", key="tenant"))
    assert refusal.code is Code.PERMISSION_DENIED


async def test_a_new_key_is_found_when_a_token_names_it(
    service: Service, issuer: KeyServer
) -> None:
    """The earlier key is gone then, and its tokens are refused, cached or not."""
    old, new = _KEY, SigningKey("k2")
    token = old.sign(roles="all")
    assert (await read(service, token)).items
    issuer.content = key_set(new)
    try:
        assert (await read(service, new.sign(roles="all"))).items
        assert (await refusal_of(service, token)).reason == "BEARER_TOKEN_KEY"
    finally:
        issuer.content = key_set(old)
    assert (await read(service, token)).items


@pytest.mark.parametrize(
    ("ending", "reason"),
    [("key", "BEARER_TOKEN_KEY"), ("role", ""), ("expiry", "BEARER_TOKEN_EXPIRED"), ("none", "")],
)
async def test_authority_is_checked_before_each_message(ending: str, reason: str) -> None:
    """A stream ends when its token expires, or the key of the token is gone; not for new roles."""
    now = [float(_NOW)]
    log: list[str] = []
    async with open_key_server(key_set(_KEY)) as issuer:
        file = IdentityFile.model_validate(identity(_ROLES, jwks_url=issuer.url))
        tokens = BearerTokens(file, KeySetReading(timeout=PATIENCE))
        await tokens.keys["idp"].refresh()

        async def act(context: Context) -> None:
            if ending == "key":
                issuer.content = key_set(SigningKey("k2"))
                await tokens.keys["idp"].refresh()
            elif ending == "role":
                roles = {"all": {"tables": ["other"]}}
                content = identity(roles, jwks_url=issuer.url)
                tokens.adopt(IdentityFile.model_validate(content))
            elif ending == "expiry":
                now[0] += 3_700

        hook = Authentication([BearerAuthenticator(tokens)], lambda: now[0], True)
        async with hooked(hook, log=log) as server:
            server.handlers.act = act
            metadata = Token(_KEY.sign(roles="all", iat=_NOW, exp=_NOW + 3_600), {}).metadata
            call: Any = server.stub.StreamQuery(StreamQueryRequest(), metadata=metadata)
            assert [(await call.read()).sequence for _ in range(2)] == [1, 2]

            async def rest() -> int:
                messages = 0
                while await call.read() is not grpc.aio.EOF:
                    messages += 1
                return messages

            if reason:
                refusal = await refused(rest())
                assert (refusal.code, refusal.reason) == (Code.UNAUTHENTICATED, reason)
            else:
                assert await rest() == 1


@pytest.mark.parametrize("trouble", ["hangs", "html", "is down"])
async def test_an_issuer_in_trouble_delays_nobody_else(
    trouble: str, tmp_path: Path, dynamodb_local: str, events: str, logged: Logged
) -> None:
    """Tokens that need its keys are refused; keys that were read before stay in force."""
    async with open_key_server(key_set(_KEY)) as issuer:
        write_identity(tmp_path / "identity.yaml", _ROLES, jwks_url=issuer.url)
        async with open_service(
            tmp_path,
            dynamodb_local,
            events_catalog(events),
            [make_key("tester")],
            identity=tmp_path / "identity.yaml",
            key_set_timeout=0.2,
        ) as service:
            token = _KEY.sign(roles="all")
            assert (await read(service, token)).items
            logged.clear()
            if trouble == "hangs":
                issuer.hangs = asyncio.Event()
            elif trouble == "html":
                issuer.answer_html()
            else:
                issuer.status = 503
            unknown = [refusal_of(service, SigningKey(f"n{n}").sign()) for n in range(20)]
            waiting = [asyncio.ensure_future(one) for one in unknown]
            assert (await service.query(of(ULRIKE))).items
            assert (await read(service, token)).items
            assert not all(one.done() for one in waiting) or trouble != "hangs"
            found = await asyncio.gather(*waiting)
            assert {refusal.reason for refusal in found} == {"BEARER_TOKEN_KEY"}
            (line,) = logged.of("bearer_keys_refused")
            assert (line["issuer"], line["kept"]) == ("idp", "the earlier keys")
            reasons = {"hangs": "not answered within", "html": "is not JSON", "is down": "503"}
            assert reasons[trouble] in line["reason"]
            assert issuer.requests <= 4
            if issuer.hangs is not None:
                issuer.hangs.set()


async def test_a_changed_identity_file_is_in_force_at_once(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """Its issuers keep their keys; a token's cached principal is not used any more."""
    file = tmp_path / "identity.yaml"
    async with open_key_server(key_set(_KEY)) as issuer:
        write_identity(file, _ROLES, jwks_url=issuer.url)
        async with open_service(
            tmp_path, dynamodb_local, events_catalog(events), [make_key("k")], identity=file
        ) as service:
            token = _KEY.sign(roles="tenant", tenant="crm")
            assert (await read(service, token)).items
            reads = issuer.requests
            roles = {"tenant": {"tables": ["scannable"]}}
            write_identity(file, roles, jwks_url=issuer.url)

            async def denied() -> bool:
                try:
                    await read(service, token)
                except grpc.aio.AioRpcError as error:
                    return error.code() is Code.PERMISSION_DENIED
                return False

            await eventually(denied)
            assert issuer.requests == reads
            write_identity(file, _ROLES, jwks_url=issuer.url, audience="another")

            async def unknown() -> bool:
                try:
                    await read(service, token)
                except grpc.aio.AioRpcError as error:
                    return error.code() is Code.UNAUTHENTICATED
                return False

            await eventually(unknown)
