"""An issuer rotates its keys under load, while tokens that nobody signed come as well."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final

import grpc

from tests.faults.load import USERS
from tests.support.key_server import open_key_server
from tests.support.lengths import at_length
from tests.support.running import Service, make_key, open_service, query_spec
from tests.support.tokens import SigningKey, Token, key_set, write_identity

_RATE: Final = at_length(50, 200)  # calls per second
_SECONDS: Final = at_length(3, 20)
_ROTATIONS: Final = at_length(2, 8)
_CALLERS: Final = 20
_FORGED_EVERY: Final = 10  # calls


async def _query(service: Service, key: str, number: int, seen: Counter[str]) -> None:
    spec = query_spec("events", "user_id = :u", parameters={"u": USERS[number % len(USERS)]})
    try:
        page = await service.query(spec, key=key)
        seen["right" if page.items else "wrong"] += 1
    except grpc.aio.AioRpcError as error:
        seen[error.code().name] += 1


def _use(service: Service, key: SigningKey) -> None:
    """Give each caller a new token by a key."""
    for caller in range(_CALLERS):
        token = key.sign(sub=f"caller-{caller}", roles=["all"])
        service.keys[f"caller-{caller}"] = Token(token, {})


async def test_no_call_fails_while_keys_are_rotated(
    tmp_path: Path, dynamodb_local: str, table: str, report: Callable[[str, str, str], None]
) -> None:
    """Callers use each new key when it is published; the one before the last is gone by then.

    Tokens with invented key ids come all the time.
    """
    keys = [SigningKey(f"k{number}") for number in range(_ROTATIONS + 1)]
    forged = count()
    seen, refused = Counter[str](), Counter[str]()
    async with open_key_server(key_set(keys[0])) as issuer:
        write_identity(tmp_path / "identity.yaml", {"all": {"tables": ["*"]}}, jwks_url=issuer.url)
        async with (
            open_service(
                tmp_path,
                dynamodb_local,
                {"tables": {"events": {"table": table}}},
                [make_key("tester")],
                identity=tmp_path / "identity.yaml",
                backend_read_timeout=at_length(25.0, 5.0),
            ) as service,
            asyncio.TaskGroup() as calls,
        ):
            _use(service, keys[0])
            earlier: list[asyncio.Task[None]] = []
            current: list[asyncio.Task[None]] = []
            total = _RATE * _SECONDS
            for number in range(total):
                rotation = (number + 1) * _ROTATIONS // total
                if rotation > number * _ROTATIONS // total and rotation < len(keys):
                    # On a slow machine, calls with the key that goes now may be under way still.
                    await asyncio.gather(*earlier)
                    earlier, current = current, []
                    issuer.content = key_set(keys[rotation - 1], keys[rotation])
                    _use(service, keys[rotation])
                name = f"caller-{number % _CALLERS}" if number % 3 else "tester"
                current.append(calls.create_task(_query(service, name, number, seen)))
                if number % _FORGED_EVERY == 0:
                    name = f"forged-{next(forged)}"
                    service.keys[name] = Token(SigningKey(name).sign(roles=["all"]), {})
                    calls.create_task(_query(service, name, number, refused))
                await asyncio.sleep(1 / _RATE)
    report(
        "rotation of an issuer's keys",
        "0 failed calls",
        f"{_ROTATIONS} rotations, {seen.total()} calls at {_RATE}/s: {dict(seen)}; "
        f"{refused.total()} forged tokens: {dict(refused)}; {issuer.requests} reads of the key set",
    )
    assert dict(seen) == {"right": _RATE * _SECONDS}
    assert set(refused) == {"UNAUTHENTICATED"}
