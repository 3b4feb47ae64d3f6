"""The server that foreign clients call, a recorder in between, and the clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

import pytest
import pytest_asyncio

from tests.faults.stub import Stub, open_stub
from tests.interop.drivers import ruby_is_there
from tests.interop.recording import Recorder, recording
from tests.interop.typescript import TypeScript, compiled
from tests.interop.workshop import Workshop
from tests.support.access import token_keys
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.lengths import FULL
from tests.support.redis_server import RedisServer
from tests.support.running import Service, eventually, make_key, open_service
from tests.support.scraping import metric

#: Each name belongs to a client; the others take longer, as most of them start anew for each call.
ALWAYS: Final = ("grpc-js", "connect-es", "grpclib", "betterproto2", "connectrpc")
IN_FULL: Final = ("buf-curl", "grpcurl", "k6", "envoy", *(("ruby",) if ruby_is_there() else ()))
NAMES: Final = (*ALWAYS, *(IN_FULL if FULL else ()))
EVENTS: Final = 7  # Of each user.
USERS: Final = 16  # Of each client.
_TABLE: Final = "interop-events"


def user_of(client: str, number: int) -> str:
    """Return a user whose events no other client reads."""
    return f"{client}-{number}"


def _event(user: str, seq: int) -> dict[str, Any]:
    """Return an item with a value of each type."""
    return {
        "user_id": {"S": user},
        "seq": {"N": str(seq)},
        "state": {"S": f"state-{user}"},
        "text": {"S": "grün ✓ \u0001 \"'\\"},
        "empty": {"S": ""},
        "amount": {"N": "-1234567890.0123456789012345678"},
        "tiny": {"N": "1E-130"},
        "data": {"B": bytes(range(256))},
        "yes": {"BOOL": True},
        "no": {"BOOL": False},
        "nothing": {"NULL": True},
        "words": {"SS": ["a", "b"]},
        "numbers": {"NS": ["1", "2.5"]},
        "pieces": {"BS": [b"\x00", b"\xff"]},
        "list": {"L": [{"S": "x"}, {"N": "0"}, {"NULL": True}, {"L": []}]},
        "map": {"M": {"a.b": {"M": {}}, "x y": {"BOOL": False}}},
    }


@dataclass(frozen=True, slots=True)
class Servers:
    """A server behind a recorder, another one that shares its cache, and the stub before both."""

    service: Service
    other: Service
    stub: Stub
    recorder: Recorder

    async def active(self) -> float:
        """Return how many calls of the first server are under way."""
        return await metric(self.service, "active_calls")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(
    dynamodb_local: str, own_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Servers]:
    """Two servers of one table."""
    client = open_client(dynamodb_local)
    index = Index("by_state", False, ("state",), ("seq",))
    types = {"user_id": "S", "seq": "N", "state": "S"}
    create_table(client, Schema(_TABLE, "user_id", "seq", (index,), types))
    users = [user_of(name, number) for name in NAMES for number in range(USERS)]
    put_items(client, _TABLE, [_event(user, seq) for user in users for seq in range(EVENTS)])
    client.close()
    stale = {"table": _TABLE, "cache_ttl": 1, "stale_while_revalidate": 3_600}
    catalog = {"tables": {"events": {"table": _TABLE, "sparse": "allow"}, "stale": stale}}
    keys = [
        make_key("admin", roles=["reader", "admin"]),
        make_key("reader"),
        make_key("stranger", tables=["nothing"]),
    ]
    shared: dict[str, Any] = {
        "redis_url": own_redis.url,
        "redis_timeout": 1.0,
        "token_keys": token_keys("shared"),
        "metrics_listen": "127.0.0.1:0",
        "backend_read_timeout": 60.0,
        # Reads of DynamoDB Local are never stale, so pages are cached without a wait.
        "cache_quarantine": 0.0,
        "cache_index_quarantine": 0.0,
    }
    async with AsyncExitStack() as stack:
        stub = await stack.enter_async_context(open_stub(dynamodb_local))
        services = [
            await stack.enter_async_context(
                open_service(
                    tmp_path_factory.mktemp("interop"),
                    f"http://127.0.0.1:{stub.port}",
                    catalog,
                    keys,
                    **shared,
                )
            )
            for _ in range(2)
        ]
        recorder = await stack.enter_async_context(recording(services[0].app.address))
        for each in services:

            async def is_fresh(service: Service = each) -> bool:
                return await metric(service, "shared_cache_fresh") == 1

            await eventually(is_fresh)
        yield Servers(services[0], services[1], stub, recorder)


@pytest.fixture(scope="session")
def workshop(
    tmp_path_factory: pytest.TempPathFactory, show_line: Callable[[str], None]
) -> Workshop:
    """The folder in which clients are prepared."""
    return Workshop(tmp_path_factory.mktemp("clients"), show_line)


@pytest.fixture(scope="session")
def typescript(
    tmp_path_factory: pytest.TempPathFactory, show_line: Callable[[str], None]
) -> TypeScript:
    """The TypeScript client and its tests, compiled."""
    return compiled(tmp_path_factory.mktemp("typescript"), show_line)
