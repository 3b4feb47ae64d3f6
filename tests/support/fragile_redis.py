"""A shared cache on a real Redis, under its own prefix, with faults that a test can cause."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from redis.asyncio import Redis

from dynamodb_processor_server.cache.redis.item_port import SharedItemStore
from dynamodb_processor_server.cache.redis.port import SharedCacheStore
from dynamodb_processor_server.cache.redis.store import RedisStore

# Keys of one prefix that a pattern matches, all at once.
_LOSE: Final = """
local keys = redis.call('KEYS', ARGV[1])
for _, key in ipairs(keys) do redis.call('DEL', key) end
return #keys
"""
_CONNECT_SECONDS: Final = 1.0
_QUARANTINE: Final = 10.0


class FragileRedis:
    """The stores of replicas in the server at `url`; `control` is a client of it, which stays open.

    Each replica has a client of its own, so that a test can close its connections alone.
    """

    def __init__(
        self, url: str, prefix: str, replicas: int, control: Redis, random: Random
    ) -> None:
        self._prefix = prefix
        self._control: Any = control
        self._random = random
        self._names = [f"{prefix}{number}" for number in range(replicas)]
        self._stores = [
            RedisStore(f"{url}?client_name={name}", _CONNECT_SECONDS, prefix, _QUARANTINE)
            for name in self._names
        ]
        self.lost = 0
        self.broken = 0

    def store(self, replica: int) -> SharedCacheStore:
        """Return a replica's client."""
        return self._stores[replica]

    def items(self, replica: int) -> SharedItemStore:
        """Return the items of a replica's client."""
        return self._stores[replica].items

    async def evict(self) -> None:
        """Lose every generation."""
        await self._lose("*:gen:*")

    async def evict_items(self) -> None:
        """Lose every single item."""
        await self._lose("*:item:*")

    async def flush(self) -> None:
        """Lose all data, or only one of the two keys that reveal a loss."""
        await self._lose(self._random.choice(["*", "*", "epoch", "invalidations"]))

    async def _lose(self, pattern: str) -> None:
        self.lost += await self._control.eval(_LOSE, 0, self._prefix + pattern)

    async def disconnect(self, replica: int) -> None:
        """Have the server close a replica's connections, with any commands on them."""
        for client in await self._control.client_list():
            if client["name"] == self._names[replica]:
                self.broken += await self._control.client_kill_filter(_id=client["id"])

    async def close(self) -> None:
        """Close the clients; the keys under the prefix stay."""
        for store in self._stores:
            await store.close()
