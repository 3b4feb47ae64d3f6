"""Tests of the keys and the identity file that bearer tokens depend on, while both change."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from dynamodb_processor.v1.query_service_pb2 import StreamQueryRequest
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
from tests.rpc.token_calls import KEY, ROLES, read, refusal_of
from tests.support.key_server import KeyServer, open_key_server
from tests.support.lengths import PATIENCE
from tests.support.running import eventually, make_key, open_service, refused
from tests.support.tokens import SigningKey, Token, identity, key_set, write_identity

Code = grpc.StatusCode
NOW: Final = int(time.time())
TROUBLES: Final = ("hangs", "html", "is down")


def _disturb(issuer: KeyServer, trouble: str) -> None:
    """Let an issuer hang, answer with HTML, or answer with the status 503."""
    if trouble == "hangs":
        issuer.hangs = asyncio.Event()
    elif trouble == "html":
        issuer.answer_html()
    else:
        issuer.status = 503


@pytest.mark.parametrize(
    ("ending", "reason"),
    [("key", "BEARER_TOKEN_KEY"), ("role", ""), ("expiry", "BEARER_TOKEN_EXPIRED"), ("none", "")],
)
async def test_authority_is_checked_before_each_message(ending: str, reason: str) -> None:
    """A stream ends when its token expires, or the key of the token is gone; not for new roles."""
    now = [float(NOW)]
    log: list[str] = []
    async with open_key_server(key_set(KEY)) as issuer:
        file = IdentityFile.model_validate(identity(ROLES, jwks_url=issuer.url))
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
            metadata = Token(KEY.sign(roles="all", iat=NOW, exp=NOW + 3_600), {}).metadata
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


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_an_issuer_in_trouble_delays_nobody_else(
    trouble: str, tmp_path: Path, dynamodb_local: str, events: str, logged: Logged
) -> None:
    """Tokens that need its keys are refused; keys that were read before stay in force."""
    async with open_key_server(key_set(KEY)) as issuer:
        write_identity(tmp_path / "identity.yaml", ROLES, jwks_url=issuer.url)
        async with open_service(
            tmp_path,
            dynamodb_local,
            events_catalog(events),
            [make_key("tester")],
            identity=tmp_path / "identity.yaml",
            key_set_timeout=0.2,
        ) as service:
            token = KEY.sign(roles="all")
            assert (await read(service, token)).items
            logged.clear()
            _disturb(issuer, trouble)
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


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_server_starts_without_the_keys_of_its_issuer(
    trouble: str, tmp_path: Path, dynamodb_local: str, events: str, logged: Logged
) -> None:
    """It is ready for API keys; tokens are refused until one of them causes a good read."""
    async with open_key_server(key_set(KEY)) as issuer:
        _disturb(issuer, trouble)
        write_identity(tmp_path / "identity.yaml", ROLES, jwks_url=issuer.url)
        async with open_service(
            tmp_path,
            dynamodb_local,
            events_catalog(events),
            [make_key("tester")],
            identity=tmp_path / "identity.yaml",
            key_set_timeout=0.2,
        ) as service:
            assert await service.check() == "SERVING"
            assert (await service.query(of(ULRIKE))).items
            refusal = await refusal_of(service, KEY.sign(roles="all"))
            assert refusal.reason == "BEARER_TOKEN_KEY"
            assert "the keys of its issuer are not available" in refusal.message
            (line,) = logged.of("bearer_keys_refused")
            assert line["kept"] == "no keys: its tokens are refused"
            if issuer.hangs is not None:
                issuer.hangs.set()
            issuer.hangs, issuer.status, issuer.content = None, 200, key_set(KEY)
            assert (await read(service, KEY.sign(roles="all"))).items


async def test_a_changed_identity_file_is_in_force_at_once(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """Its issuers keep their keys; a token's cached principal is not used any more."""
    file = tmp_path / "identity.yaml"
    async with open_key_server(key_set(KEY)) as issuer:
        write_identity(file, ROLES, jwks_url=issuer.url)
        async with open_service(
            tmp_path, dynamodb_local, events_catalog(events), [make_key("k")], identity=file
        ) as service:
            token = KEY.sign(roles="tenant", tenant="crm")
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
            write_identity(file, ROLES, jwks_url=issuer.url, audience="another")

            async def unknown() -> bool:
                try:
                    await read(service, token)
                except grpc.aio.AioRpcError as error:
                    return error.code() is Code.UNAUTHENTICATED
                return False

            await eventually(unknown)
