"""DynamoDB ends an answer at 1 MB before it filters; DynamoDB Local does not count rejected items.

Its answers are cut where 1 MB would end, so items, cursors and the effect of the filter are its
own.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import QueryResponse, StreamQueryResponse
from tests.faults.conftest import Ground, open_ground
from tests.faults.stub import Ask, Reply, reply_with
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import Service, query_spec

_USERS: Final = ("u-1", "u-2")
_EVENTS: Final = range(1, 161)  # Of each user.
_RARE: Final = frozenset({90, 91, 92, 93, 94, 95, 140, 141, 159})
_PER_MEGABYTE: Final = 8  # Items, each as if of 128 KB.
_UNITS_PER_ITEM: Final = 16.0
_PAGE: Final = 4
_INTERVAL: Final = 0.1  # Between a stream's messages.
_BYPASS: Final = query_pb2.CachePolicy(mode=query_pb2.CACHE_MODE_BYPASS)


@dataclass
class Megabytes:
    """Ends answers at 1 MB of evaluated items; `answers` are those given, in order."""

    answers: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, request: dict[str, Any], ask: Ask) -> Reply:
        """Answer a Query or a Scan."""
        limit = min(request.get("Limit", _PER_MEGABYTE), _PER_MEGABYTE)
        content = await ask({**request, "Limit": limit})
        content["ConsumedCapacity"]["CapacityUnits"] = _UNITS_PER_ITEM * content["ScannedCount"]
        self.answers.append(content)
        return reply_with(content)

    @property
    def scanned(self) -> int:
        """The number of evaluated items."""
        return sum(answer["ScannedCount"] for answer in self.answers)

    @property
    def longest_void(self) -> int:
        """The longest run of answers without items although more was to come."""
        empty = (not answer["Count"] and "LastEvaluatedKey" in answer for answer in self.answers)
        return max((len(list(run)) for is_empty, run in groupby(empty) if is_empty), default=0)


@dataclass(frozen=True, slots=True)
class Case:
    """A query for the rare events of some users, on one path."""

    name: str
    condition: str
    users: tuple[str, ...] = _USERS
    index: str = ""
    order: query_pb2.Order.ValueType = query_pb2.ORDER_ASCENDING

    @property
    def spec(self) -> query_pb2.QuerySpec:
        """The query."""
        condition = f"{self.condition}kind = 'rare'"
        return query_spec("events", condition, index=self.index, order=self.order)

    @property
    def wanted(self) -> list[tuple[str, int]]:
        """Its expected items."""
        return sorted((user, seq) for user in self.users for seq in _RARE)


ONE: Final = Case("one partition", "user_id = 'u-1' AND ", ("u-1",))
CASES: Final = (
    ONE,
    Case("backwards", "user_id = 'u-1' AND ", ("u-1",), order=query_pb2.ORDER_DESCENDING),
    Case("two partitions", "user_id IN ('u-1', 'u-2') AND "),
    Case("an index", "day = 'd' AND ", index="by_day"),
    Case("a scan", ""),
)


@pytest.fixture(scope="module")
def megabytes_table(dynamodb_local: str) -> str:
    """A table of many events of which few are rare."""
    name = f"faults-megabytes-{uuid.uuid4().hex[:8]}"
    index = Index("by_day", False, ("day",), ("seq",))
    types = {"user_id": "S", "seq": "N", "day": "S"}
    client = open_client(dynamodb_local)
    create_table(client, Schema(name, "user_id", "seq", (index,), types))
    put_items(client, name, [_event(user, seq) for user in _USERS for seq in _EVENTS])
    client.close()
    return name


def _event(user: str, seq: int) -> dict[str, Any]:
    kind = "rare" if seq in _RARE else "common"
    return {
        "user_id": {"S": user},
        "seq": {"N": str(seq)},
        "day": {"S": "d"},
        "kind": {"S": kind},
    }


@pytest_asyncio.fixture
async def cut(
    tmp_path: Path, dynamodb_local: str, megabytes_table: str
) -> AsyncIterator[tuple[Ground, Megabytes]]:
    """A server, and the component that cuts the answers it gets."""
    megabytes = Megabytes()
    async with open_ground(
        tmp_path,
        dynamodb_local,
        megabytes_table,
        config={"allow_scan": True, "sparse": "allow"},
        acts={"Query": megabytes.answer, "Scan": megabytes.answer},
        stream_interval=_INTERVAL,
    ) as ground:
        yield ground, megabytes


def _of_all(pages: Sequence[QueryResponse | StreamQueryResponse]) -> list[tuple[str, int]]:
    """Return the events on pages."""
    items = [item for page in pages for item in page.items]
    return [(item.attributes["user_id"].s, int(item.attributes["seq"].n)) for item in items]


async def _pages(service: Service, case: Case, **fields: Any) -> list[QueryResponse]:
    """Return every page."""
    pages = [await service.query(case.spec, page_size=_PAGE, **fields)]
    while token := pages[-1].next_page_token:
        pages.append(await service.query(case.spec, page_size=_PAGE, page_token=token, **fields))
    return pages


@pytest.mark.fact(3)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_pages_are_full_however_many_answers_are_empty(
    case: Case, cut: tuple[Ground, Megabytes], report: Callable[[str, str, str], None]
) -> None:
    """Pages end when nothing follows, and report their whole cost. Counts are as exact."""
    ground, megabytes = cut
    pages = await _pages(ground.service, case)
    reported = [
        sum(page.stats.items_scanned for page in pages),
        sum(page.stats.backend_calls for page in pages),
        sum(page.stats.read_units for page in pages),
    ]
    took = [megabytes.scanned, len(megabytes.answers), _UNITS_PER_ITEM * megabytes.scanned]
    void = megabytes.longest_void
    count = await ground.service.count(case.spec)
    seen = _of_all(pages)
    sizes = [len(page.items) for page in pages]
    report(
        f"1 MB before the filter, {case.name}",
        f"{len(case.wanted)} items on pages of {_PAGE}, each once; what it took is reported",
        f"pages of {sizes}, {len(set(seen))} different items; {void} empty answers in a row; "
        f"items, calls and units reported {reported}, taken {took}",
    )
    assert sorted(seen) == case.wanted
    assert set(sizes[:-1]) == {_PAGE}
    assert {page.end for page in pages[:-1]} == {query_pb2.PAGE_END_PAGE_FULL}
    assert pages[-1].end == query_pb2.PAGE_END_EXHAUSTED
    assert reported == took
    assert void > 2
    assert count.total.value == len(case.wanted)


@pytest.mark.parametrize(
    ("reason", "budget"),
    [
        (query_pb2.PAGE_END_SCAN_BUDGET, query_pb2.Budget(max_scanned_items=20)),
        # No answer is begun at 13 items or more, and none has more than 8.
        (query_pb2.PAGE_END_READ_UNIT_BUDGET, query_pb2.Budget(max_read_units=200.0)),
    ],
    ids=["items", "units"],
)
async def test_a_budget_cuts_among_empty_answers(
    reason: query_pb2.PageEnd.ValueType,
    budget: query_pb2.Budget,
    cut: tuple[Ground, Megabytes],
    report: Callable[[str, str, str], None],
) -> None:
    """Only then is a page short, and its token goes on exactly."""
    ground, _ = cut
    pages = await _pages(ground.service, ONE, budget=budget)
    seen = _of_all(pages)
    short = [page for page in pages[:-1] if len(page.items) < _PAGE]
    most = max(page.stats.items_scanned for page in pages)
    report(
        f"1 MB before the filter, {query_pb2.PageEnd.Name(reason)[len('PAGE_END_') :]}",
        "20 items a call at most; nothing lost, nothing twice",
        f"{len(pages)} calls of {most} items at most, {len(short)} short; "
        f"{len(seen)} of {len(ONE.wanted)} items, {len(set(seen))} different",
    )
    assert seen == ONE.wanted
    assert len(short) > 3
    assert {page.end for page in short} == {reason}
    assert most <= 20


@pytest.mark.parametrize("cache", [query_pb2.CachePolicy(), _BYPASS], ids=["cached", "bypassed"])
async def test_a_stream_reports_its_cursor_while_answers_are_empty(
    cache: query_pb2.CachePolicy,
    cut: tuple[Ground, Megabytes],
    report: Callable[[str, str, str], None],
) -> None:
    """From each message on, another stream gives the remaining items: none is lost or repeated."""
    ground, _ = cut
    ground.stub.seconds = _INTERVAL / 2
    messages = await ground.service.messages(ONE.spec, page_size=_PAGE, cache=cache)
    ground.stub.seconds = 0.0
    empty = [message for message in messages[:-1] if not message.items]
    wrong, delivered = 0, 0
    for message in messages[:-1]:
        delivered += len(message.items)
        token = message.resume_token
        rest = await ground.service.messages(ONE.spec, page_size=_PAGE, resume_token=token)
        wrong += _of_all(rest) != ONE.wanted[delivered:]
    report(
        f"1 MB before the filter, streamed {'past' if cache == _BYPASS else 'into'} the cache",
        f"progress each {_INTERVAL} s; nothing lost, nothing twice from any of it on",
        f"{len(messages)} messages, {len(empty)} of them empty; {wrong} resumed wrongly",
    )
    assert _of_all(messages) == ONE.wanted
    assert len(empty) > 2
    assert {message.end for message in empty} == {query_pb2.PAGE_END_TIME_BUDGET}
    assert len({message.resume_token for message in messages}) == len(messages)
    assert not wrong
