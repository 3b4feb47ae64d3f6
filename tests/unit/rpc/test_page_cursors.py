"""Tests that resume points are cached for each caller for as long as they are valid."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass, field, replace

import pytest

from dynamodb_processor.v1.query_pb2 import (
    CONSISTENCY_STRONG,
    TOTAL_MODE_EXACT,
    Budget,
    TotalOptions,
)
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.errors import InvalidRequest, PermissionDenied, PreconditionFailed
from dynamodb_processor_server.query.page_token import PageTokenCipher, TokenKey
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import START, page_key
from dynamodb_processor_server.rpc.decode.page_request import REQUEST_DECODERS, PageRequest
from dynamodb_processor_server.rpc.page_cursors import PageTokens, ResumePointCache
from dynamodb_processor_server.rpc.resume_point import ResumePoint
from tests.support.running import query_spec
from tests.unit.rpc.preparing import Prepared

_CALLER = Principal("key-1", "reports", frozenset({"reader"}), (Grant("events"),), "default")
_LIFETIME = 600.0


@dataclass
class Opened:
    """A cache of resume points over a query preparer, with a clock that the test sets."""

    now: float = 1_000.0
    prepared: Prepared = field(default_factory=Prepared)

    def __post_init__(self) -> None:
        cipher = PageTokenCipher([TokenKey("k", bytes(32))], _LIFETIME, now=lambda: self.now)
        self.tokens = PageTokens(cipher, now=lambda: self.now)
        self.resume_points = ResumePointCache(
            self.prepared.preparation, self.tokens, now=lambda: self.now
        )

    async def __call__(self, request: PageRequest, caller: Principal = _CALLER) -> ResumePoint:
        """Return the resume point of a request."""
        known = self.resume_points.known(request, caller)
        return known or (await self.resume_points.open(request, caller)).start

    async def plan(self, request: PageRequest, caller: Principal = _CALLER) -> Plan:
        """Return the plan of a request."""
        return (await self.resume_points.open(request, caller)).prepared.plan


@pytest.fixture
def opened() -> Opened:
    """An empty cache of resume points."""
    return Opened()


def request(token: str = "") -> PageRequest:
    """Return a request for a page of one user's events, as the decoder caches it."""
    spec = query_spec("events", "user_id = :u", parameters={"u": "u-1"})
    message = QueryRequest(query=spec, page_token=token)
    read = REQUEST_DECODERS["Query"](message, message.SerializeToString())
    assert isinstance(read, PageRequest)
    return read


async def test_a_request_is_opened_once_for_each_caller(opened: Opened) -> None:
    """Each principal has its own resume point, and its own page tokens."""
    asked = request()
    first = await opened(asked)
    assert await opened(asked) is first
    assert await opened(asked, replace(_CALLER, key_id="key-2")) is first
    assert await opened(asked, replace(_CALLER, name="other")) is not first


async def test_a_cached_resume_point_ends_with_the_grant(opened: Opened) -> None:
    """A cached resume point gives no access after the caller lost its grant."""
    asked = request()
    await opened(asked)
    with pytest.raises(PermissionDenied):
        await opened(asked, replace(_CALLER, grants=(Grant("others"),)))
    fewer = Grant("events", frozenset({"user_id", "at"}))
    restricted = await opened(asked, replace(_CALLER, grants=(fewer,)))
    assert restricted.access.table.config.attributes is not None


async def test_a_changed_table_is_opened_anew(opened: Opened) -> None:
    """A cached plan for the earlier schema is not used."""
    asked = request()
    first, plan = await opened(asked), await opened.plan(asked)
    opened.prepared.describer.sort = "seq"
    await opened.prepared.catalog.refresh()
    assert await opened(asked) is not first
    assert await opened.plan(asked) is not plan
    assert len(asked.resume_points) == 1, "that of the earlier schema is dropped"


async def test_a_token_opens_until_the_moment_it_expires(opened: Opened) -> None:
    """Earlier use does not extend the lifetime of a token."""
    begun = await opened(request())
    asked = request(opened.tokens.seal(begun, _CALLER, b"[1]", 7))
    index = await opened(asked)
    assert (index.cursor, index.returned) == (b"[1]", 7)
    opened.now += _LIFETIME - 1
    assert await opened(asked) is index
    opened.now += 1
    with pytest.raises(PreconditionFailed, match="expired"):
        await opened(asked)


async def test_a_token_is_not_opened_for_another_principal(opened: Opened) -> None:
    """A token is refused for another principal, even after its owner has used it."""
    begun = await opened(request())
    asked = request(opened.tokens.seal(begun, _CALLER, b"[1]", 7))
    await opened(asked)
    with pytest.raises(InvalidRequest, match="not a token of this query and caller"):
        await opened(asked, replace(_CALLER, name="other"))


async def test_many_callers_of_one_request_take_bounded_memory(opened: Opened) -> None:
    """The number of cached resume points of one request is bounded."""
    asked = request()
    for number in range(100):
        await opened(asked, replace(_CALLER, name=f"caller-{number}"))
    assert 0 < len(asked.resume_points) <= 32


async def test_a_remembered_point_keeps_no_plan(opened: Opened) -> None:
    """A plan takes ten times the memory of a resume point; it is bound again where it is needed."""
    asked = request()
    start = await opened(asked)
    first = weakref.ref(await opened.plan(asked))
    plans = opened.prepared.preparation._plans
    plans.clear()
    gc.collect()
    assert first() is None
    known, prepared = await opened.resume_points.open(asked, _CALLER)
    assert known is start
    assert prepared.identity == start.identity


async def test_pages_that_cannot_be_cached_have_no_page_key(opened: Opened) -> None:
    """A total, a budget, a bound on items and strong reads take a pager."""
    plain = query_spec("events", "user_id = :u", parameters={"u": "u-1"})
    strong = query_spec(
        "events", "user_id = :u", parameters={"u": "u-1"}, consistency=CONSISTENCY_STRONG
    )
    bounded = query_spec("events", "user_id = :u", parameters={"u": "u-1"}, max_items=5)
    keys = []
    for message in (
        QueryRequest(query=plain),
        QueryRequest(query=plain, page_size=7),
        QueryRequest(query=plain, total=TotalOptions(mode=TOTAL_MODE_EXACT)),
        QueryRequest(query=plain, budget=Budget(max_read_units=5.0)),
        QueryRequest(query=strong),
        QueryRequest(query=bounded),
    ):
        read = REQUEST_DECODERS["Query"](message, message.SerializeToString())
        assert isinstance(read, PageRequest)
        keys.append((await opened(read)).page_key)
    plan = await opened.plan(request())
    assert keys == [page_key(plan, START, 100), page_key(plan, START, 7), None, None, None, None]
