"""Tests of page tokens through gRPC: their owner, their query and their lifetime."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest

from dynamodb_processor.v1.query_pb2 import QuerySpec
from tests.rpc.data import ULRIKE, VIKTOR, events_catalog, events_schema
from tests.rpc.logged import Logged
from tests.support.dynamodb import create_table, open_client
from tests.support.running import (
    Key,
    Refusal,
    Service,
    make_key,
    numbers,
    open_service,
    query_spec,
    refusal_of,
    refused,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
_EVERY = list(range(1, 251))
_NOT_OURS = "is not a token of this query and caller"
# The text that a server without token keys adds to each error of a token.
_OF_A_PROCESS = (
    f"{_NOT_OURS}; tokens of this server end with its process, as its operator has not set "
    "token_keys"
)


def of(user: str, more: str = "", /, table: str = "events", **fields: Any) -> QuerySpec:
    """Return a query of one user's events."""
    return query_spec(table, f"user_id = :u {more}", parameters={"u": user}, **fields)


async def token_of(service: Service, spec: QuerySpec, *, key: str | None = None) -> str:
    """Return the token behind the first ten items."""
    return (await service.query(spec, key=key, page_size=10)).next_page_token


async def refusal(service: Service, spec: QuerySpec, token: str, key: str | None = None) -> Refusal:
    """Return the refusal of a query with a token."""
    return await refused(service.query(spec, key=key, page_token=token))


def sealing(*names: str) -> str:
    """Return the setting with token keys of these names; equal names have equal keys."""
    keys = [base64.urlsafe_b64encode(Random(name).randbytes(32)).decode() for name in names]
    return ",".join(f"{name}:{key}" for name, key in zip(names, keys, strict=True))


@asynccontextmanager
async def replica(
    directory: Path, endpoint_url: str, events: str, key: Key, **settings: Any
) -> AsyncIterator[Service]:
    """Run one of several servers that the same callers use."""
    catalog = events_catalog(events)
    async with open_service(directory, endpoint_url, catalog, [key], **settings) as service:
        yield service


async def test_a_token_goes_on_with_another_page_size(service: Service) -> None:
    """The token has only the cursor."""
    page = await service.query(of(ULRIKE), page_size=10)
    seen = numbers(page.items, "at")
    for size in (1, 50, 3, 1_000):
        page = await service.query(of(ULRIKE), page_size=size, page_token=page.next_page_token)
        seen += numbers(page.items, "at")
    assert seen == _EVERY
    assert page.next_page_token == ""


async def test_a_token_goes_from_query_to_stream_and_back(service: Service) -> None:
    """All items returned earlier count against `max_items`."""
    spec = of(ULRIKE, max_items=50)
    page = await service.query(spec, page_size=10)
    seen = numbers(page.items, "at")
    stream = service.stream(spec, page_size=15, resume_token=page.next_page_token)
    message: Any = await stream.read()
    seen += numbers(message.items, "at")
    stream.cancel()
    page = await service.query(spec, page_size=1_000, page_token=message.resume_token)
    seen += numbers(page.items, "at")
    assert seen == _EVERY[:50]
    assert page.next_page_token == ""


async def test_a_token_stays_on_its_index(service: Service) -> None:
    """All pages of a query come from the first one's index, in its order."""
    spec = query_spec("events", "system_id = 'billing' AND at > 200")
    page = await service.query(spec, page_size=10)
    assert page.stats.index_used == "by_system"
    rest = await service.query(spec, page_token=page.next_page_token)
    assert rest.stats.index_used == "by_system"
    assert numbers([*page.items, *rest.items], "at") == list(range(202, 251, 2))


@pytest.mark.parametrize(
    "spec",
    [
        of(VIKTOR),
        of(ULRIKE, "AND at > 1"),
        of(ULRIKE, order="ORDER_DESCENDING"),
        of(ULRIKE, max_items=100),
        of(ULRIKE, consistency="CONSISTENCY_STRONG"),
        of(ULRIKE, projection=["at"]),
        of(ULRIKE, index="@table"),
    ],
    ids=["parameter", "condition", "order", "max_items", "consistency", "projection", "index"],
)
async def test_another_querys_token_is_refused(service: Service, spec: QuerySpec) -> None:
    """Any difference of the query makes it another one."""
    refused = await refusal(service, spec, await token_of(service, of(ULRIKE)))
    assert refused.code is Code.INVALID_ARGUMENT
    assert refused.descriptions == {"page_token": _OF_A_PROCESS}


async def test_another_spelling_of_the_same_query_is_the_same_query(service: Service) -> None:
    """A literal for a parameter, or other blanks, make no difference."""
    token = await token_of(service, of(ULRIKE))
    spec = query_spec("events", f"( user_id='{ULRIKE}' )")
    page = await service.query(spec, page_size=1, page_token=token)
    assert numbers(page.items, "at") == [11]


async def test_another_principals_token_is_refused(service: Service) -> None:
    """The text is the same, so that it does not reveal the owner."""
    token = await token_of(service, of(ULRIKE), key="other")
    refused = await refusal(service, of(ULRIKE), token, "reports")
    assert refused.code is Code.INVALID_ARGUMENT
    assert refused.descriptions == {"page_token": _OF_A_PROCESS}


async def test_another_tables_token_is_refused(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """It is refused even if the query and the keys are the same."""
    client = open_client(dynamodb_local)
    create_table(client, events_schema(f"{events}-copy"))
    client.close()
    catalog = events_catalog(events)
    catalog["tables"]["copy"] = {"table": f"{events}-copy"}
    async with open_service(tmp_path, dynamodb_local, catalog) as service:
        token = await token_of(service, of(ULRIKE))
        refused = await refusal(service, of(ULRIKE, table="copy"), token)
    assert refused.descriptions == {"page_token": _OF_A_PROCESS}


async def test_a_streams_bad_token_is_named_as_its_own_field(service: Service) -> None:
    """The field is `resume_token`, not `page_token`."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.messages(of(ULRIKE), resume_token="nonsense")
    assert refusal_of(caught.value).descriptions == {"resume_token": _OF_A_PROCESS}


@pytest.mark.parametrize("garbage", ["x", "====", "a" * 70_000, "ö", "AQ", "A" * 43, " ", "\x00"])
async def test_garbage_is_refused(service: Service, garbage: str) -> None:
    """It is refused like every other foreign token."""
    refused = await refusal(service, of(ULRIKE), garbage)
    assert refused.code is Code.INVALID_ARGUMENT
    assert refused.descriptions == {"page_token": _OF_A_PROCESS}


async def test_an_altered_token_is_refused(service: Service) -> None:
    """A change of any character is found."""
    token = await token_of(service, of(ULRIKE))
    random = Random(1)
    for index in range(len(token)):
        letter = random.choice([c for c in "AZaz09-_" if c != token[index]])
        refused = await refusal(service, of(ULRIKE), token[:index] + letter + token[index + 1 :])
        assert refused.descriptions == {"page_token": _OF_A_PROCESS}


async def test_a_token_reveals_nothing(service: Service) -> None:
    """The content of the cursor is not readable."""
    token = await token_of(service, of(ULRIKE))
    clear = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert ULRIKE.encode() not in clear
    assert b"user_id" not in clear


async def test_replicas_share_tokens_by_sharing_keys(
    tmp_path: Path, dynamodb_local: str, events: str, logged: Logged
) -> None:
    """Old keys still decrypt, new ones encrypt, unknown ones are refused; none is ever logged."""
    key = make_key("tester")
    logged.secrets |= {part.split(":")[1] for part in sealing("old", "new", "alien").split(",")}
    folders = [tmp_path / name for name in ("old", "both", "alien")]
    for folder in folders:
        folder.mkdir()
    async with replica(folders[0], dynamodb_local, events, key, token_keys=sealing("old")) as old:
        token = await token_of(old, of(ULRIKE))
        async with replica(
            folders[1], dynamodb_local, events, key, token_keys=sealing("new", "old")
        ) as both:
            page = await both.query(of(ULRIKE), page_size=5, page_token=token)
            assert numbers(page.items, "at") == [11, 12, 13, 14, 15]
            refused = await refusal(old, of(ULRIKE), page.next_page_token)
            assert refused.descriptions == {"page_token": _NOT_OURS}
    async with replica(
        folders[2], dynamodb_local, events, key, token_keys=sealing("alien")
    ) as alien:
        refused = await refusal(alien, of(ULRIKE), token)
        assert refused.descriptions == {"page_token": _NOT_OURS}


async def test_an_expired_token_has_its_own_error(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """Its owner can start again; a change of the query would not help."""
    key = make_key("tester")
    async with replica(tmp_path, dynamodb_local, events, key, token_lifetime=0.001) as service:
        refused = await refusal(service, of(ULRIKE), await token_of(service, of(ULRIKE)))
    assert (refused.code, refused.reason) == (Code.FAILED_PRECONDITION, "TOKEN_EXPIRED")
    (violation,) = refused.details["PreconditionFailure"].violations
    assert (violation.type, violation.subject) == ("TOKEN_EXPIRED", "page_token")
