"""Two tenants with bearer tokens of one role: neither gets an item of the other."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import grpc
import pytest

from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.key_server import open_key_server
from tests.support.lengths import at_length
from tests.support.running import UNLIMITED, Service, make_key, open_service, query_spec, refusal_of
from tests.support.scraping import metric
from tests.support.tenant_events import ALL, TABLES, TENANTS, USERS, RandomRead, random_read
from tests.support.tokens import SigningKey, Token, key_set, write_identity

Code = grpc.StatusCode
CALLS: Final = at_length(60, 1_000)  # of each kind, for each tenant
AT_ONCE: Final = 8
# The service's answers to queries that a rule or a missing index forbids.
REFUSALS: Final = {"ACCESS_RULES", "INDEX_NOT_USABLE", "SCAN_NOT_ALLOWED"}

_KEY: Final = SigningKey()


@dataclass
class Tenant:
    """A tenant's calls, and what came of them."""

    name: str
    service: Service
    random: Random
    outcomes: Counter[str] = field(default_factory=Counter)
    foreign: list[tuple[str, str]] = field(default_factory=list)

    async def query(self) -> None:
        """Read every page of a query."""
        asked, seen, token = random_read(self.random), list[Item](), ""
        size = self.random.choice((3, 7, 50, 300))
        while True:
            page = await self.service.query(
                asked.spec, key=self.name, page_size=size, page_token=token
            )
            seen += page.items
            token = page.next_page_token
            if not token:
                break
        self._check(seen, asked)

    async def stream(self) -> None:
        """Read a query as a stream."""
        asked, seen = random_read(self.random), list[Item]()
        size = self.random.choice((3, 7, 50))
        async for message in self.service.stream(asked.spec, key=self.name, page_size=size):
            seen += message.items
        self._check(seen, asked)

    async def count(self) -> None:
        """Count the items of a query."""
        asked, token = random_read(self.random), ""
        while True:
            answer = await self.service.count(asked.spec, key=self.name, page_token=token)
            token = answer.next_page_token
            if not token:
                break
        assert answer.total.value == len(asked.expected(self.name))

    async def get(self) -> None:
        """Get items by key: own ones, the other tenant's, and missing ones."""
        known = self.random.sample(sorted(ALL), 20)
        keys = [*known, *((user, "e-none") for user in USERS)]
        sent = [
            Item(attributes={"user_id": AttributeValue(s=user), "event_id": AttributeValue(s=at)})
            for user, at in keys
        ]
        table = self.random.choice(TABLES)
        answer = await self.service.get(table, sent, key=self.name)
        found = {
            key
            for key, result in zip(keys, answer.results, strict=True)
            if result.WhichOneof("result") == "item"
        }
        self._note([one.item for one in answer.results if one.HasField("item")])
        assert found == {key for key in known if ALL[key].tenant == self.name}

    async def token(self) -> None:
        """Give a page token to the other tenant, for a page and for a stream."""
        asked = random_read(self.random)
        page = await self.service.query(asked.spec, key=self.name, page_size=3)
        if not page.next_page_token:
            return
        (other,) = {*TENANTS} - {self.name}
        calls: list[Awaitable[Any]] = [
            self.service.query(asked.spec, key=other, page_token=page.next_page_token),
            self.service.messages(asked.spec, key=other, resume_token=page.next_page_token),
        ]
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            refusal = refusal_of(caught.value)
            assert (refusal.code, refusal.reason) == (Code.INVALID_ARGUMENT, "INVALID_REQUEST")
        self.outcomes["tokens refused"] += len(calls)

    async def run(self, kind: str) -> None:
        """Make one call of a kind; a query may be refused because of the rule."""
        try:
            await getattr(self, kind)()
        except grpc.aio.AioRpcError as error:
            refusal = refusal_of(error)
            assert refusal.reason in REFUSALS, refusal
            self.outcomes["refused"] += 1
        else:
            self.outcomes[kind] += 1

    def _note(self, items: list[Item]) -> None:
        for item in items:
            key = item.attributes["user_id"].s, item.attributes["event_id"].s
            if ALL[key].tenant != self.name:
                self.foreign.append(key)
        self.outcomes["items"] += len(items)

    def _check(self, items: list[Item], asked: RandomRead) -> None:
        self._note(items)
        keys = [(one.attributes["user_id"].s, one.attributes["event_id"].s) for one in items]
        assert len(set(keys)) == len(keys)
        assert set(keys) == asked.expected(self.name), asked.spec


@pytest.fixture
async def service(tmp_path: Path, dynamodb_local: str) -> AsyncIterator[Service]:
    """A server of the events, with a token of each tenant, and another of the first."""
    schema = Schema(
        table=f"e2e-tenants-{uuid.uuid4().hex[:8]}",
        partition="user_id",
        sort="event_id",
        indexes=(
            Index("by_time", True, ("user_id",), ("at",), "KEYS_ONLY"),
            Index("by_kind", False, ("kind",), ("at",), "KEYS_ONLY"),
            Index("by_tenant", False, ("tenant_id",), ("at",)),
        ),
        types={"user_id": "S", "event_id": "S", "at": "N", "kind": "S", "tenant_id": "S"},
    )
    client = open_client(dynamodb_local)
    await asyncio.to_thread(create_table, client, schema)
    items = [event.item for event in ALL.values()]
    await asyncio.to_thread(put_items, client, schema.table, items)
    required = ["at", "kind", "tenant_id"]
    entry = {"table": schema.table, "allow_scan": True, "required": required}
    rule = "tenant_id = ${claims.tenant}"
    role = {
        "tables": [
            {"table": "strict", "rule": rule},
            {"table": "filtered", "rule": rule, "rule_as_filter": True},
        ]
    }
    async with open_key_server(key_set(_KEY)) as issuer:
        write_identity(tmp_path / "identity.yaml", {"tenant": role}, jwks_url=issuer.url)
        async with open_service(
            tmp_path,
            dynamodb_local,
            {"tables": dict.fromkeys(TABLES, entry)},
            [make_key("unused")],
            identity=tmp_path / "identity.yaml",
            metrics_listen="127.0.0.1:0",
            rate_classes={"default": UNLIMITED},
        ) as running:
            for key, sub, tenant in (
                ("acme", "alice", "acme"),
                ("acme too", "bob", "acme"),
                ("competitor", "carol", "competitor"),
            ):
                token = _KEY.sign(sub=sub, roles=["tenant"], tenant=tenant)
                running.keys[key] = Token(token, {})
            yield running


async def test_neither_tenant_gets_an_item_of_the_other(
    service: Service, report: Callable[[str, str, str], None]
) -> None:
    """Random queries, counts, gets, streams and foreign page tokens, from both at once."""
    tenants = [Tenant(name, service, Random(name)) for name in TENANTS]
    kinds = ("query", "stream", "count", "get", "token")
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(tenant: Tenant, kind: str) -> None:
        async with slots:
            await tenant.run(kind)

    async with asyncio.TaskGroup() as group:
        for number in range(CALLS * len(kinds)):
            for tenant in tenants:
                group.create_task(one(tenant, kinds[number % len(kinds)]))
    total = sum((tenant.outcomes for tenant in tenants), Counter[str]())
    foreign = [key for tenant in tenants for key in tenant.foreign]
    hits = await metric(service, "reads_total", cache="HIT")
    report(
        "two tenants of one role",
        f"{CALLS} of each kind: 0 items of the other",
        f"{len(foreign)} of {total['items']} items, {total['tokens refused']} foreign page tokens "
        f"refused, {total['refused']} calls refused by the rule, {hits:g} cache hits",
    )
    assert not foreign
    assert hits > 0
    for tenant in tenants:
        assert all(tenant.outcomes[kind] > CALLS / 3 for kind in kinds)
        assert tenant.outcomes["tokens refused"] > 0
        assert tenant.outcomes["items"] > CALLS


async def test_pages_are_shared_where_the_rules_agree(service: Service) -> None:
    """Two users of one tenant share a cached page; the other tenant reads its own."""

    async def status_of(key: str, table: str) -> str:
        before = {name: await metric(service, "reads_total", cache=name) for name in _STATUSES}
        assert (await service.query(query_spec(table, "at > -7"), key=key)).items
        after = {name: await metric(service, "reads_total", cache=name) for name in _STATUSES}
        (status,) = [name for name in _STATUSES if after[name] > before[name]]
        return status

    for table in TABLES:
        keys = ("acme", "acme too", "competitor", "competitor", "acme")
        seen = [await status_of(key, table) for key in keys]
        assert seen == ["MISS", "HIT", "MISS", "HIT", "HIT"]


_STATUSES: Final = ("HIT", "MISS", "COALESCED", "BYPASSED")
