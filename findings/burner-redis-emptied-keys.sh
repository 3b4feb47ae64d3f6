#!/usr/bin/env bash
# burner-redis 0.1.7 (Redis within the process, for asyncio).
#
# A hash, set or sorted set that has lost its last element is still there, with its time to live. Redis, "Automatic
# creation and removal of keys": when the last element is removed, "the key is automatically destroyed". Seen, with
# the answer of Valkey 9.1.2 to the right:
#
#     HSET h a 1, EXPIRE h 100, HDEL h a, EXISTS h                    1             0
#     and then HSET h b 2, TTL h                                      99 or 100     -1
#     SADD s a, SREM s a, EXISTS s                                    1             0
#     and then SET s new NX                                           None          True
#     ZADD z 1 a, ZREM z a, EXISTS z                                  1             0
#
# What is written to a hash that was empty for a while expires with what was there before.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check burner-redis==0.1.7 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import sys

from burner_redis import BurnerRedis

EXPECTED = {"hash": 1, "expires": True, "set": 1, "taken": None, "sorted set": 1}


async def main():
    redis = BurnerRedis()
    await redis.hset("h", "a", "1")
    await redis.expire("h", 100)
    await redis.hdel("h", "a")
    seen = {"hash": await redis.exists("h")}
    await redis.hset("h", "b", "2")
    seen["expires"] = await redis.ttl("h") > 0

    await redis.sadd("s", "a")
    await redis.srem("s", "a")
    seen["set"] = await redis.exists("s")
    seen["taken"] = await redis.set("s", "new", nx=True)

    await redis.zadd("z", {"a": 1})
    await redis.zrem("z", "a")
    seen["sorted set"] = await redis.exists("z")
    print(seen)
    sys.exit(seen != EXPECTED)


asyncio.run(main())
PYTHON
