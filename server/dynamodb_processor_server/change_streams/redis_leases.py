"""Leases and checkpoints of stream consumers, stored in Redis or Valkey."""

from __future__ import annotations

import asyncio
from typing import Any, Final, TypeGuard

import orjson

from dynamodb_processor_server.change_streams.port import NO_CHECKPOINT, Checkpoint
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.runtime.redis import RedisClient
from dynamodb_processor_server.runtime.redis_log import RedisLog

_CONNECTIONS: Final = 4

# Keys: lease, checkpoint. Both always expire: a key that does not is not one of ours.
_ACQUIRE: Final = """
if redis.call('PTTL', KEYS[1]) == -1 then redis.call('DEL', KEYS[1]) end
local taken = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
if not taken and redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return {} end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local checkpoint = redis.pcall('GET', KEYS[2])
if type(checkpoint) ~= 'string' then checkpoint = '' end
return {checkpoint, redis.call('PTTL', KEYS[2])}
"""
# A lease lifetime of 0 ends the lease.
_RENEW: Final = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] ~= '' then redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""


class RedisLeases:
    """Leases in the Redis at `url`, which must be valid; `timeout` bounds each operation.

    A checkpoint expires when it is no longer valid. It holds the IDs of shards and the sequence
    numbers of records, and nothing of their content.
    """

    def __init__(self, url: str, timeout: float, prefix: str) -> None:
        self._redis = RedisClient(url, timeout, _CONNECTIONS, key=prefix)
        self._timeout = timeout
        self._prefix = prefix
        self._log = RedisLog("stream_leases")
        self._acquire = self._redis.script(_ACQUIRE)
        self._renew = self._redis.script(_RENEW)

    def use(self, url: str) -> None:
        """Use another URL from now on."""
        self._redis.use(url)

    async def acquire(self, name: str, holder: str, seconds: float) -> Checkpoint | None:
        """Acquire a lease. Return its last holder's checkpoint, None if another one holds it."""
        match await self._run(self._acquire, name, holder, int(seconds * 1_000)):
            case []:
                return None
            case [bytes() as text, int() as left]:
                return _parse(text, left / 1_000)
        raise BackendUnavailable("Redis did not return a lease")

    async def renew(
        self, name: str, holder: str, seconds: float, checkpoint: Checkpoint | None
    ) -> bool:
        """Extend a lease and store a checkpoint, if there is one; return False if it was lost."""
        text, lifetime = b"", 0
        if checkpoint is not None and checkpoint.valid_for > 0:
            # The stored format, which replicas of other versions read and write.
            text = orjson.dumps(
                {
                    "of": checkpoint.fingerprint,
                    "places": dict(checkpoint.progress),
                    "max_lag": checkpoint.max_lag,
                }
            )
            lifetime = max(1, int(checkpoint.valid_for * 1_000))
        arguments = (holder, int(seconds * 1_000), text, lifetime)
        return bool(await self._run(self._renew, name, *arguments) == 1)

    async def release(self, name: str, holder: str, checkpoint: Checkpoint | None) -> None:
        """Store a checkpoint and give the lease up, if it is still held."""
        await self.renew(name, holder, 0.0, checkpoint)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.close()

    async def _run(self, script: Any, name: str, *arguments: str | bytes | int) -> Any:
        keys = (f"{self._prefix}lease:{name}", f"{self._prefix}checkpoint:{name}")
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._redis.run(script, keys, arguments)
        except (StoreError, TimeoutError) as error:
            failure = error if isinstance(error, StoreError) else StoreError("timeout")
            self._log.failed(failure.kind, failure.words)
            raise BackendUnavailable("Redis cannot be asked for a lease") from None
        self._log.succeeded()
        return answer


def _is_lag(seconds: object) -> TypeGuard[float | None]:
    return seconds is None or (isinstance(seconds, int | float) and seconds > 0)


def _is_state(state: object) -> bool:
    return state is None or (isinstance(state, str) and state != "")


def _parse(text: bytes, valid_for: float) -> Checkpoint:
    try:
        match orjson.loads(text):
            case {"of": str() as fingerprint, "places": dict() as progress, **more}:
                max_lag = more.get("max_lag")  # replicas of older versions do not write it
                if valid_for > 0 and _is_lag(max_lag) and all(map(_is_state, progress.values())):
                    return Checkpoint(fingerprint, progress, valid_for, max_lag)
    except ValueError:
        pass
    return NO_CHECKPOINT
