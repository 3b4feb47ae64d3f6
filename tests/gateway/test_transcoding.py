"""JSON that passes the gateway reaches the server as the message that it stands for."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from google.protobuf import json_format

from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from tests.gateway.gateways import gateway_before
from tests.support.fake_service import FakeService
from tests.support.gateway import Gateway
from tests.support.lengths import at_length
from tests.support.ready_fake import ready

_QUERY: Final = "/v1/tables/numbers:query"
_REQUESTS: Final = at_length(300, 5_000)
_TEXTS: Final = ("", "a", "grün ✓", '"\\/\b\f\n\r\t\x01\x7f', "\U0001f600", "u" * 300, "{}", "null")
_BYTES: Final = ("", "YQ==", "YQ", "-_8=", "+/8", "AAAA")
_WHOLE: Final = (0, 1, -1, 7.0, 1e2, "12", "-3", 2**31 - 1, "2147483647")
_WIDE: Final = (*_WHOLE, 2**53 - 1, 1 - 2**53, str(2**63 - 1), str(-(2**63)))
_DOUBLES: Final = (0, 1.5, -2, 1e-3, "2.5", "Infinity", "-Infinity", 1e300, 2**53 - 1)
_DURATIONS: Final = ("0s", "1s", "1.5s", "-1.000000001s", "315576000000s", "0.000000001s")
_TIMES: Final = (
    "2026-01-31T12:00:00Z", "2024-02-29T23:59:59.000000001Z", "2026-12-31T00:00:00.5+14:00",
    "0001-01-02T00:00:00Z", "9999-12-30T23:59:59.999999999-00:30", "2000-02-29T00:00:00-11:45",
)  # fmt: skip

_T = TypeVar("_T")


class _Maker:
    """Makes requests as JSON, and changes of their text."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def request(self) -> dict[str, Any]:
        """Return a request."""
        return self._some(
            query=self._spec,
            pageSize=lambda: self._of(_WHOLE),
            pageToken=lambda: self._of(("", "0")),
            budget=lambda: self._some(
                maxScannedItems=lambda: self._of(_WIDE),
                max_read_units=lambda: self._of(_DOUBLES),
                maxDuration=lambda: self._of(_DURATIONS),
            ),
            cache=lambda: self._some(
                mode=lambda: self._of(("CACHE_MODE_BYPASS", 1, "CACHE_MODE_UNSPECIFIED")),
                max_staleness=lambda: self._of(_DURATIONS),
                notBefore=lambda: self._of(_TIMES),
                not_before_token=self._text,
            ),
            total=lambda: self._some(
                mode=lambda: self._of(("TOTAL_MODE_EXACT", 2)), upTo=lambda: self._of(_WIDE)
            ),
        )

    def mutated(self, text: str) -> str:
        """Return JSON text with one change that may or may not break it."""
        at = self._random.randrange(len(text))
        piece: str = self._of((*'"{}[],:0-e.\\ ', "null", ""))
        return text[:at] + piece + text[at + self._random.randrange(2) :]

    def _spec(self) -> dict[str, Any]:
        return self._some(
            table=lambda: "numbers",
            expression=self._text,
            parameters=lambda: {self._text(): self._value(3) for _ in range(self._count())},
            index=self._text,
            order=lambda: self._of(("ORDER_DESCENDING", "ORDER_ASCENDING", 0)),
            projection=lambda: [self._text() for _ in range(self._count())],
            consistency=lambda: self._of(("CONSISTENCY_STRONG", 1)),
            max_items=lambda: self._of(_WIDE),
        )

    def _value(self, depth: int) -> dict[str, Any]:
        kinds: dict[str, Any] = {
            "s": self._text,
            "n": lambda: self._of(("1", "1E+125", "0.10")),
            "b": lambda: self._of(_BYTES),
            "bool": lambda: self._of((True, False)),
            "null": lambda: True,
            "ss": lambda: {"values": [self._text() for _ in range(self._count())]},
            "bs": lambda: {"values": [self._of(_BYTES) for _ in range(self._count())]},
        }
        if depth > 0:
            kinds["l"] = lambda: {"values": [self._value(depth - 1) for _ in range(self._count())]}
            kinds["m"] = lambda: {
                "fields": {self._text(): self._value(depth - 1) for _ in range(self._count())}
            }
        kind = self._of(tuple(kinds))
        return {kind: kinds[kind]()}

    def _some(self, **fields: Any) -> dict[str, Any]:
        made = {}
        for name, make in fields.items():
            choice = self._random.random()
            if choice < 0.6:
                made[name] = make()
            elif choice < 0.65:
                made[name] = None
        return made

    def _count(self) -> int:
        return self._random.randrange(4)

    def _text(self) -> str:
        return self._of(_TEXTS)

    def _of(self, choices: Sequence[_T]) -> _T:
        return self._random.choice(choices)


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[tuple[FakeService, Gateway]]:
    """A service without items, and a gateway before it."""
    service = FakeService(items=[])
    async with ready(service), gateway_before(tmp_path, service) as gateway:
        yield service, gateway


def _expected(text: str) -> QueryRequest | None:
    """Return the message that protobuf's own parser makes of JSON; None if it refuses it."""
    request = QueryRequest()
    try:
        json_format.Parse(text, request)
    except json_format.ParseError:
        return None
    request.query.table = "numbers"
    return request


async def test_requests_arrive_as_they_were_meant(
    fake: tuple[FakeService, Gateway], report: Any
) -> None:
    """Each arrives as protobuf's own parser reads it, or is refused; a valid one arrives."""
    service, gateway = fake
    maker = _Maker(seed=17)
    passed = refused = stricter = 0
    for number in range(_REQUESTS):
        text = json.dumps(maker.request(), ensure_ascii=number % 2 == 0)
        valid = number % 3 == 0
        sent = text if valid else maker.mutated(text)
        service.requests.clear()
        answer = await asyncio.to_thread(gateway.post, _QUERY, sent)
        expected = _expected(sent)
        if service.requests:
            assert expected is not None, sent
            assert service.requests[0] == expected, sent
            passed += 1
        else:
            assert answer.refusal == (400, 3, "INVALID_REQUEST"), (sent, answer)
            assert not valid, (sent, answer)
            refused += 1
            stricter += expected is not None
    report(
        "JSON requests through the gateway",
        "each arrives as protobuf's own parser reads it, or is refused",
        f"{passed} arrived, {refused} refused, of them {stricter} that the parser accepts",
    )
    assert passed > _REQUESTS / 3
    assert refused > _REQUESTS / 5


@pytest.mark.parametrize("levels", [31, 32])
async def test_values_nest_as_deep_as_in_dynamodb(
    fake: tuple[FakeService, Gateway], levels: int
) -> None:
    """A list of lists arrives down to DynamoDB's 32 levels; far below, the body is refused."""
    service, gateway = fake
    body = {"query": {"parameters": {"deep": _nested(levels)}}}
    answer = await asyncio.to_thread(gateway.post, _QUERY, body)
    assert answer.status == 200, answer
    assert service.requests[0] == _expected(json.dumps(body))
    deeper = {"query": {"parameters": {"deep": _nested(200)}}}
    refused = await asyncio.to_thread(gateway.post, _QUERY, deeper)
    assert refused.refusal == (400, 3, "INVALID_REQUEST")
    assert "levels deep" in refused.violations["body"]


def _nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"s": "deep"}
    for _ in range(levels):
        value = {"l": {"values": [value]}}
    return value
