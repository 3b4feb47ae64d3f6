"""Page tokens that were altered, or belong elsewhere, are refused and reveal nothing."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final

import grpc
import pytest

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import QueryRequest, StreamQueryRequest
from tests.support.access import token_keys
from tests.support.channels import Caller, error_info, open_caller, violated_fields
from tests.support.event_service import CATALOG, ENVIRONMENT, KEYS, OTHER, READER
from tests.support.events import LONG, USERS
from tests.support.lengths import at_length
from tests.support.messages import spec
from tests.support.processes import ServerProcess

MUTANTS: Final = at_length(10_000, 100_000)
AT_ONCE: Final = 64
QUERY: Final = spec("events", "user_id = :u", {"u": {"S": LONG}})
OTHER_QUERIES: Final = (
    spec("events", "user_id = :u", {"u": {"S": USERS[0]}}),
    spec("events", "user_id = :u", {"u": {"S": LONG}}, descending=True),
    spec("events", "user_id = :u", {"u": {"S": LONG}}, strong=True),
    spec("events", "user_id = :u", {"u": {"S": LONG}}, projection=["seq"]),
    spec("events", "user_id = :u", {"u": {"S": LONG}}, index="@table"),
    spec("events", "user_id = :u", {"u": {"S": LONG}}, max_items=1_000),
    spec("events", "user_id = :u AND seq >= 0", {"u": {"S": LONG}}),
    spec("copies", "user_id = :u", {"u": {"S": LONG}}),
)
ServerStarter = Callable[..., ServerProcess]


async def _token(caller: Caller, query: QuerySpec, page_size: int = 3) -> str:
    page = await caller.query(QueryRequest(query=query, page_size=page_size))
    assert page.next_page_token
    return page.next_page_token


async def _refusal(caller: Caller, token: str, *, streamed: bool = False) -> grpc.aio.AioRpcError:
    """Return the error for a token; fail if it is accepted."""
    call = _streamed(caller, token) if streamed else _paged(caller, token)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def _paged(caller: Caller, token: str) -> None:
    await caller.query(QueryRequest(query=QUERY, page_token=token))


async def _streamed(caller: Caller, token: str) -> None:
    async for _ in caller.stream(StreamQueryRequest(query=QUERY, resume_token=token)):
        return


async def test_mutated_tokens(caller: Caller, report: Callable[[str, str, str], None]) -> None:
    """Thousands of altered and foreign tokens are refused, all with the same words."""
    own = [await _token(caller, QUERY, size) for size in range(1, 9)]
    foreign = [await _token(caller, query) for query in OTHER_QUERIES]
    foreign += [await _token(caller.using(OTHER.text), QUERY, size) for size in (1, 2, 3)]
    mutants = _mutants(Random(20261122), own, foreign)
    slots = asyncio.Semaphore(AT_ONCE)
    seen: Counter[tuple[str, bool, str | None]] = Counter()

    async def attempt(number: int) -> None:
        streamed = number % 4 == 0
        async with slots:
            try:
                await (_streamed if streamed else _paged)(caller, mutants[number])
            except grpc.aio.AioRpcError as error:
                seen[error.code().name, streamed, error.details()] += 1
            else:
                seen["OK", streamed, None] += 1

    await asyncio.gather(*map(attempt, range(MUTANTS)))
    codes = {code for code, _, _ in seen}
    accepted = sum(number for (code, _, _), number in seen.items() if code == "OK")
    report(
        f"{MUTANTS:,} mutated tokens",
        "0 accepted, 0 INTERNAL, the same words for all",
        f"{accepted} accepted, statuses {', '.join(sorted(codes))}, "
        f"{len(seen)} different texts for 2 methods",
    )
    assert codes == {"INVALID_ARGUMENT"}
    assert len(seen) == 2
    assert sum(seen.values()) == MUTANTS


def _mutants(random: Random, own: list[str], foreign: list[str]) -> list[str]:
    """Return `MUTANTS` tokens that are invalid for `QUERY`, every foreign one among them."""
    genuine = {*own, *foreign}
    mutants = list(foreign)
    while len(mutants) < MUTANTS:
        one, other = random.choice(own), random.choice([*own, *foreign])
        mutant = random.choice(_MUTATIONS)(random, one, other)
        if mutant and mutant not in genuine:
            mutants.append(mutant)
    return mutants


def _flipped(random: Random, one: str, _: str) -> str:
    data = bytearray(_bytes(one))
    for _flip in range(random.choice((1, 1, 1, 2, 8))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return _text(data)


def _respelled(random: Random, one: str, _: str) -> str:
    """Change a character, also in the spare bits of the last one, or to one foreign to base64."""
    at = random.choice((random.randrange(len(one)), len(one) - 1))
    return one[:at] + random.choice("ABCxyz019-_=+/ .é\n") + one[at + 1 :]


def _truncated(random: Random, one: str, _: str) -> str:
    return one[: random.randrange(1, len(one))]


def _extended(random: Random, one: str, _: str) -> str:
    return random.choice((one + "A", one + "=", one + one, " " + one, "A" + one, one + "\x00"))


def _spliced(random: Random, one: str, other: str) -> str:
    a, b = _bytes(one), _bytes(other)
    at = random.randrange(min(len(a), len(b)))
    return _text(a[:at] + b[at:])


def _shuffled(random: Random, one: str, _: str) -> str:
    data = _bytes(one)
    at, to = sorted(random.sample(range(len(data) + 1), 2))
    return _text(data[:at] + data[at:to][::-1] + data[to:])


def _invented(random: Random, one: str, _: str) -> str:
    return _text(random.randbytes(random.randrange(1, 2 * len(one))))


_MUTATIONS: Final = (
    _flipped, _flipped, _respelled, _truncated, _extended, _spliced, _spliced, _shuffled, _invented,
)  # fmt: skip


def _bytes(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def _text(data: bytes | bytearray) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


async def test_errors_name_the_field(caller: Caller) -> None:
    """The error names the field of the bad token."""
    assert violated_fields(await _refusal(caller, "bad")) == ["page_token"]
    assert violated_fields(await _refusal(caller, "bad", streamed=True)) == ["resume_token"]


async def test_overlong_token(caller: Caller) -> None:
    """A token over 64 KiB is refused like any other invalid one."""
    error = await _refusal(caller, "A" * (64 * 1024 + 1))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
def sibling(serve: ServerStarter, events: str) -> ServerStarter:
    """A function that starts another server over the same tables, with more environment."""

    def start(**more: str) -> ServerProcess:
        return serve(CATALOG, KEYS, endpoint_url=events, env=ENVIRONMENT | more)

    return start


async def test_expired_token(caller: Caller, sibling: ServerStarter) -> None:
    """An expired token is FAILED_PRECONDITION; an altered one is still INVALID_ARGUMENT."""
    hasty = sibling(DYNAMODB_PROCESSOR_TOKEN_LIFETIME="0.000001")
    async with open_caller(hasty.address, READER.text) as elsewhere:
        token = await _token(elsewhere, QUERY)
    expired = await _refusal(caller, token)
    assert expired.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error_info(expired).reason == "TOKEN_EXPIRED"
    altered = await _refusal(caller, _flipped(Random(1), token, ""))
    assert altered.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_rotated_token_keys(caller: Caller, sibling: ServerStarter) -> None:
    """A replica with a new key decrypts tokens of the old key; one without the old key does not."""
    token = await _token(caller, QUERY)
    rotated = sibling(DYNAMODB_PROCESSOR_TOKEN_KEYS=token_keys("second", "first"))
    async with open_caller(rotated.address, READER.text) as elsewhere:
        page = await elsewhere.query(QueryRequest(query=QUERY, page_token=token, page_size=1))
        assert page.items[0].attributes["seq"].n == "3"
        refused = await _refusal(caller, page.next_page_token)
        assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT
