"""Facts 1 to 7 of `dynamodb-facts.md`: limits, last evaluated keys, ties and sizes."""

from __future__ import annotations

from typing import Any, Final

import pytest

from dynamodb_processor_server.reader import PageEnd
from tests.contract.facts import Ground, MakeGround, values
from tests.support.datasets import Index, Schema

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOTES: Final = Schema(
    "facts-notes", "owner", "at", (Index("by_kind", False, ("kind",), ("rank",)),),
    {"owner": "S", "at": "S", "kind": "S", "rank": "N"},
)  # fmt: skip
# Times around midnight on some days, on each side of it, with ties in rank.
MOMENTS: Final = tuple(
    f"2026-03-{day:02}T{time}.000Z"
    for day in range(1, 6)
    for time in ("00:00:00", "12:00:00", "23:59:59")
)
ITEMS: Final[list[dict[str, Any]]] = [
    {
        "owner": {"S": "ann"},
        "at": {"S": moment},
        "kind": {"S": "k"},
        "rank": {"N": str(number // 5)},
        "number": {"N": str(number)},
    }
    for number, moment in enumerate(MOMENTS)
]
ANN: Final = {":o": {"S": "ann"}}
LARGE: Final = Schema("facts-large", "owner", "n", (), {"owner": "S", "n": "N"})
LARGE_ITEMS: Final[list[dict[str, Any]]] = [
    {"owner": {"S": "ann"}, "n": {"N": str(n)}, "text": {"S": "x" * 390_000}} for n in range(4)
]


@pytest.fixture(scope="module")
def notes(make_ground: MakeGround) -> Ground:
    """Fifteen small items of one partition."""
    return make_ground(NOTES, ITEMS, sparse="allow")


@pytest.fixture(scope="module")
def large(make_ground: MakeGround) -> Ground:
    """Four items of nearly 400 KB in one partition."""
    return make_ground(LARGE, LARGE_ITEMS)


@pytest.mark.fact(1)
async def test_limit_counts_evaluated_items_and_not_matches(notes: Ground) -> None:
    """A page without a match has a last evaluated key, so the service reads on."""
    first = notes.query(
        "#o = :o",
        FilterExpression="#n > :n",
        ExpressionAttributeNames={"#o": "owner", "#n": "number"},
        values={**ANN, ":n": {"N": "9"}},
        Limit=3,
    )
    assert (first["Count"], first["ScannedCount"]) == (0, 3)
    assert "LastEvaluatedKey" in first
    pages = await notes.pages("owner = 'ann' AND number > 9", 3)
    assert [page.content.count for page in pages] == [3, 2]


@pytest.mark.fact(2)
async def test_a_last_evaluated_key_does_not_promise_more(notes: Ground) -> None:
    """A page that ends exactly at the limit has one, although no item follows."""
    request: dict[str, Any] = {"ExpressionAttributeNames": {"#o": "owner"}, "values": ANN}
    answers = list(notes.raw_pages("query", KeyConditionExpression="#o = :o", Limit=15, **request))
    assert [answer["Count"] for answer in answers] == [15, 0]
    pages = await notes.pages("owner = 'ann'", 15)
    assert sum(page.content.count for page in pages) == 15
    assert pages[-1].content.end is PageEnd.EXHAUSTED


@pytest.mark.fact(3)
@pytest.mark.parametrize("request_", [{"Select": "COUNT"}, {"ProjectionExpression": "n"}])
async def test_an_answer_ends_at_one_megabyte_of_read_items(
    large: Ground, request_: dict[str, Any]
) -> None:
    """Filters and projections do not raise the cap, so the service requests more."""
    condition = {"KeyConditionExpression": "#o = :o", "values": ANN}
    names = {"ExpressionAttributeNames": {"#o": "owner"}}
    answers = list(large.raw_pages("query", **condition, **names, **request_))
    assert [answer["Count"] for answer in answers] == [3, 1]
    assert await large.count("owner = 'ann'") == 4
    (page,) = await large.pages("owner = 'ann'", 10, projection=("n",))
    assert page.content.count == 4
    assert page.usage.backend_calls == 2


@pytest.mark.fact(4)
@pytest.mark.parametrize("descending", [False, True])
async def test_ties_of_an_index_are_not_in_table_key_order(notes: Ground, descending: bool) -> None:
    """A start key has index and table keys; paging passes every tie once, in either direction."""
    request: dict[str, Any] = {
        "IndexName": "by_kind",
        "KeyConditionExpression": "kind = :k",
        "ScanIndexForward": not descending,
        "Limit": 2,
        "values": {":k": {"S": "k"}},
    }
    answers = list(notes.raw_pages("query", **request))
    found = [item for answer in answers for item in answer["Items"]]
    assert sorted(values(found, "at")) == sorted(MOMENTS)
    assert answers[0]["LastEvaluatedKey"].keys() == {"kind", "rank", "owner", "at"}
    partial = {name: ITEMS[0][name] for name in ("kind", "rank")}
    assert "key" in notes.refusal("query", **request, ExclusiveStartKey=partial)
    for page_size in (1, 2, 7):
        answer = await notes.answer("kind = 'k'", page_size, index="by_kind", descending=descending)
        assert values(answer, "at") == values(found, "at")


@pytest.mark.fact(5)
@pytest.mark.parametrize("descending", [False, True])
async def test_a_cursor_outlives_its_item(notes: Ground, descending: bool) -> None:
    """A start key whose item was deleted works as before."""
    request: dict[str, Any] = {
        "KeyConditionExpression": "#o = :o",
        "ExpressionAttributeNames": {"#o": "owner"},
        "ScanIndexForward": not descending,
        "values": ANN,
    }
    first = notes.ask("query", Limit=5, **request)
    gone = first["Items"][-1]
    notes.ask("delete_item", Key=first["LastEvaluatedKey"])
    try:
        rest = notes.ask("query", ExclusiveStartKey=first["LastEvaluatedKey"], **request)
    finally:
        notes.ask("put_item", Item=gone)
    order = sorted(MOMENTS, reverse=descending)
    assert values(first["Items"] + rest["Items"], "at") == order


@pytest.mark.fact(6)
async def test_one_item_may_fill_a_message(large: Ground) -> None:
    """Items have up to 400 KB, so pages are bounded by bytes, and hold at least one item."""
    too_large = {**LARGE_ITEMS[0], "text": {"S": "x" * 410_000}}
    assert "size" in large.refusal("put_item", Item=too_large)
    pages = await large.pages("owner = 'ann'", 100, max_bytes=900_000)
    assert [(page.content.count, page.content.end) for page in pages] == [
        (2, PageEnd.RESPONSE_BYTES), (2, PageEnd.EXHAUSTED),
    ]  # fmt: skip
    pages = await large.pages("owner = 'ann'", 100, max_bytes=1_000)
    assert [page.content.count for page in pages] == [1, 1, 1, 1]


@pytest.mark.fact(7)
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("page_size", [1, 2, 4])
async def test_days_end_where_the_next_begins(
    notes: Ground, descending: bool, page_size: int
) -> None:
    """No item is lost, repeated or counted to another day, in either direction."""
    text = "owner = 'ann' AND at >= '2026-03-02T00:00:00.000Z' AND at < '2026-03-04T00:00:00.000Z'"
    answer = await notes.answer(text, page_size, descending=descending)
    days = [moment for moment in MOMENTS if moment[8:10] in ("02", "03")]
    assert values(answer, "at") == sorted(days, reverse=descending)
