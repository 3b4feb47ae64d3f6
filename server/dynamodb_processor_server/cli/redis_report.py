"""The report of `dynamodb-processor config` on Redis: usable or not, and refused commands."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.runtime.redis import close_redis, connect, open_redis, run_script
from dynamodb_processor_server.runtime.redis_log import NEEDS_BRACES, remedy_for
from dynamodb_processor_server.runtime.redis_url import Topology, has_hash_tag, parse_redis_url

_TIMEOUT: Final = 5.0  # seconds
_INFO_NOTE: Final = (
    "redis_url: INFO is not allowed, so a restart or failover of Redis that takes less than a "
    "second and loses what was written last is not noticed; allow `+info`"
)

# Every command of the scripts, on a key of its own, which expires. Returns the refused ones.
_COMMANDS: Final = """
if redis.replicate_commands then redis.replicate_commands() end
local key, stream, refused = KEYS[1], KEYS[1] .. ':stream', {}
local function try(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    refused[#refused + 1] = (...) .. '\\n' .. answer.err
  end
end
try('TIME')
try('SET', key, '1', 'PX', 10000)
try('GET', key)
try('GETRANGE', key, 0, 0)
try('PTTL', key)
try('PEXPIRE', key, 10000)
try('XADD', stream, '*', 'event', '')
try('XRANGE', stream, '-', '+', 'COUNT', 1)
try('XREVRANGE', stream, '+', '-', 'COUNT', 1)
try('DEL', key)
try('DEL', stream)
try('INFO', 'server')
return refused
"""


@dataclass(frozen=True, slots=True)
class RedisReport:
    """The report: `text` for the line of Redis, and `notes`."""

    text: str
    ok: bool
    notes: tuple[str, ...] = ()


async def report_on_redis(url: str, prefix: str) -> RedisReport:
    """Send the Redis at `url` every command that the server needs, with keys under `prefix`.

    Raises ConfigurationError if the URL is none of Redis's.
    """
    client = open_redis(url, _TIMEOUT, 1, key=prefix)
    try:
        async with asyncio.timeout(_TIMEOUT):
            return await _ask(client, prefix, parse_redis_url(url).topology)
    except StoreError as error:
        words = error.words or "it does not answer"
        remedy = remedy_for(error.words)
        return RedisReport(f"{words} ({remedy})" if remedy else words, ok=False)
    except TimeoutError:
        return RedisReport("it does not answer", ok=False)
    finally:
        await close_redis(client)


async def _ask(client: Any, prefix: str, topology: Topology) -> RedisReport:
    await connect(client)
    if await _cluster_nodes(client) > 1 and not has_hash_tag(prefix):
        return RedisReport(f"redis_prefix: {NEEDS_BRACES}", ok=False)
    answer = await run_script(client.register_script(_COMMANDS), (f"{prefix}config",), ())
    refused = dict(entry.decode(errors="replace").split("\n", 1) for entry in answer)
    notes = (_INFO_NOTE,) if refused.pop("INFO", None) is not None else ()
    if refused:
        return RedisReport(_missing(list(refused), next(iter(refused.values()))), False, notes)
    return RedisReport(_found(client, topology), True, notes)


async def _cluster_nodes(client: Any) -> int:
    """Return how many nodes of a cluster share the keys, 0 if there is no cluster to be seen."""
    try:
        answer = await run_script(lambda **_: client.execute_command("CLUSTER", "INFO"), (), ())
    except StoreError:
        return 0
    found = re.search(rb"cluster_size:(\d+)", answer) if isinstance(answer, bytes) else None
    return int(found[1]) if found else 0


def _found(client: Any, topology: Topology) -> str:
    """Return "ok", and the primary that Sentinels or nodes have named."""
    if topology is Topology.ONE_SERVER:
        return "ok"
    host, port = client.connection_pool.finder.address
    found = "by Sentinel" if topology is Topology.SENTINEL else "in the cluster"
    return f"ok: {host}:{port} is the primary, found {found}"


def _missing(commands: Sequence[str], words: str) -> str:
    names = ", ".join(dict.fromkeys(commands))
    remedy = remedy_for(words)
    return f"{names} is refused: {words.strip()}" + (f" ({remedy})" if remedy else "")
