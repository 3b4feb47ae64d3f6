"""Facts 8 to 15 of `dynamodb-facts.md`: the conditions of DynamoDB and their meaning."""

from __future__ import annotations

from typing import Any, Final

import pytest

from dynamodb_processor_server.query.expression.parser import ExpressionError, parse_expression
from dynamodb_processor_server.query.planning.plan import Operation
from tests.contract.facts import Ground, MakeGround, values
from tests.support.datasets import Index, Schema

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCHEMA: Final = Schema(
    "facts-expressions", "p", "timestamp", (Index("by_kind", False, ("kind",), ("rank",)),),
    {"p": "S", "timestamp": "S", "kind": "S", "rank": "N"},
)  # fmt: skip
# In the order of their bytes, which is not that of their times: `.` sorts before `Z`.
MOMENTS: Final = ("2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z")
ITEMS: Final[list[dict[str, Any]]] = [
    {
        "p": {"S": "x"},
        "timestamp": {"S": moment},
        "kind": {"S": "k"},
        "rank": {"N": str(rank)},
        "state": state,
    }
    for rank, (moment, state) in enumerate(
        zip(MOMENTS, ({"S": "on"}, {"NULL": True}, {"BOOL": True}), strict=True)
    )
] + [{"p": {"S": "x"}, "timestamp": {"S": "2026-01-02"}, "kind": {"S": "k"}, "rank": {"N": "3"}}]
X: Final = {":x": {"S": "x"}}
AT: Final = {"#t": "timestamp"}


@pytest.fixture(scope="module")
def ground(make_ground: MakeGround) -> Ground:
    """Four items of one partition, with states of three types and none."""
    return make_ground(SCHEMA, ITEMS, sparse="allow", allow_scan=True)


@pytest.mark.fact(8)
async def test_a_key_takes_one_condition(ground: Ground) -> None:
    """A half-open range is a BETWEEN; the service subtracts its end from pages and counts."""
    low, high = MOMENTS[0], MOMENTS[2]
    given = {**X, ":a": {"S": low}, ":b": {"S": high}}
    words = ground.refusal(
        "query",
        KeyConditionExpression="p = :x AND #t >= :a AND #t < :b",
        ExpressionAttributeNames=AT,
        values=given,
    )
    assert "one condition per key" in words
    between = ground.query(
        "p = :x AND #t BETWEEN :a AND :b",
        ExpressionAttributeNames=AT,
        values=given,
        Select="COUNT",
    )
    assert between["Count"] == 3
    text = f"p = 'x' AND timestamp >= '{low}' AND timestamp < '{high}'"
    assert values(await ground.answer(text), "timestamp") == [*MOMENTS[:2]]
    assert await ground.count(text) == 2


@pytest.mark.fact(8)
async def test_a_filter_may_not_name_the_key_that_is_queried(ground: Ground) -> None:
    """The service itself checks the parts of a condition that a key condition cannot express."""
    words = ground.refusal(
        "query",
        KeyConditionExpression="p = :x",
        FilterExpression="#t <> :x",
        ExpressionAttributeNames=AT,
        values=X,
    )
    assert "Primary key attribute: timestamp" in words
    answer = await ground.answer(f"p = 'x' AND timestamp <> '{MOMENTS[1]}'")
    assert len(answer) == 3


@pytest.mark.fact(9)
async def test_a_range_that_ends_before_it_begins_is_an_error(ground: Ground) -> None:
    """The service answers such a range with no items, and sends no request."""
    words = ground.refusal(
        "query",
        KeyConditionExpression="p = :x AND #t BETWEEN :b AND :a",
        ExpressionAttributeNames=AT,
        values={**X, ":a": {"S": "a"}, ":b": {"S": "b"}},
    )
    assert "greater than or equal" in words
    for text in ("timestamp BETWEEN 'b' AND 'a'", "timestamp > 'b' AND timestamp < 'a'"):
        plan = ground.plan(f"p = 'x' AND {text}")
        assert plan.operation is Operation.NOTHING
        assert await ground.answer(f"p = 'x' AND {text}") == []


@pytest.mark.fact(10)
@pytest.mark.parametrize(
    ("condition", "ranks"),
    [
        ("rank <> 1", [0, 2, 3]),
        ("rank IN (1, 2)", [1, 2]),
        ("(rank = 1 OR rank = 3)", [1, 3]),
        ("NOT rank = 1", [0, 2, 3]),
        ("contains(rank, 1)", []),
    ],
)
async def test_a_key_condition_takes_few_operators(
    ground: Ground, condition: str, ranks: list[int]
) -> None:
    """The service itself checks the operators that DynamoDB's keys and filters refuse."""
    text = condition
    for number in range(4):
        text = text.replace(str(number), f":{number}")
    used = {f":{n}": {"N": str(n)} for n in range(4) if f":{n}" in text}
    names = {"#r": "rank"}
    ground.refusal(
        "query",
        IndexName="by_kind",
        KeyConditionExpression="kind = :k AND " + text.replace("rank", "#r"),
        ExpressionAttributeNames=names,
        values={":k": {"S": "k"}, **used},
    )
    answer = await ground.answer(f"kind = 'k' AND {condition}")
    assert [int(rank) for rank in values(answer, "rank")] == ranks


@pytest.mark.fact(10)
async def test_a_numeric_key_takes_no_begins_with(ground: Ground) -> None:
    """DynamoDB and the service both refuse begins_with on a numeric key, with the reason."""
    words = ground.refusal(
        "query",
        IndexName="by_kind",
        KeyConditionExpression="kind = :k AND begins_with(#r, :r)",
        ExpressionAttributeNames={"#r": "rank"},
        values={":k": {"S": "k"}, ":r": {"N": "1"}},
    )
    assert "operand type: N" in words
    with pytest.raises(ExpressionError, match="begins_with needs a string or binary value"):
        parse_expression("kind = 'k' AND begins_with(rank, 1)", {})


@pytest.mark.fact(11)
@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"FilterExpression": "timestamp = :x"}, "reserved keyword"),
        ({"FilterExpression": "p = :x", "ExpressionAttributeNames": {"#a": "a"}}, "unused"),
        ({"FilterExpression": "p = :x", "values": {**X, ":y": {"S": "y"}}}, "unused"),
        ({"FilterExpression": "attribute_exists(p)", "values": {}}, "must not be empty"),
    ],
)
async def test_names_and_values_are_aliased_and_all_used(
    ground: Ground, request_: dict[str, Any], words: str
) -> None:
    """Reserved words, unused aliases and empty maps are errors; the service sends none of them."""
    assert words in ground.refusal("scan", **{"values": X, **request_})
    answer = await ground.answer("attribute_exists(timestamp) AND kind = 'k'", projection=("p",))
    assert len(answer) == 4
    (request,) = ground.plan("p = 'x' AND attribute_exists(state)").requests
    assert set(request["ExpressionAttributeNames"].values()) == {"p", "state"}
    (request,) = ground.plan(None).requests
    assert not {"ExpressionAttributeNames", "ExpressionAttributeValues"} & set(request)


@pytest.mark.fact(12)
@pytest.mark.parametrize(
    ("most", "more", "words"),
    [
        (f"attribute_not_exists({'a' * 4_074})", "a)", "Expression size has exceeded"),
        (f"p IN (:x{', :x' * 99})", ", :x)", "IN operator"),
        (f"(NOT p = :x{' OR p = :x' * 149})", " OR p = :x)", "too many operators"),
    ],
    ids=["bytes", "operands", "operators"],
)
async def test_expressions_have_limits(ground: Ground, most: str, more: str, words: str) -> None:
    """DynamoDB takes 4,096 bytes, 100 operands of IN and 300 operators, and no more."""
    given = {"values": X} if ":x" in most else {}
    ground.ask("scan", FilterExpression=most, **given)
    assert words in ground.refusal("scan", FilterExpression=most.removesuffix(")") + more, **given)


@pytest.mark.fact(12)
@pytest.mark.parametrize(
    "text",
    [
        f'attribute_not_exists("{"a" * 4_090}")',
        f"rank IN ({', '.join(map(str, range(150)))})",
        " OR ".join(f"rank = {number}" for number in range(350)),
    ],
    ids=["bytes", "operands", "operators"],
)
async def test_the_service_takes_more_than_dynamodb_does(ground: Ground, text: str) -> None:
    """The service splits a condition that is too large for DynamoDB, or checks it itself."""
    assert len(await ground.answer(f"p = 'x' AND ({text})")) == 4


@pytest.mark.fact(13)
async def test_an_index_is_filtered_by_the_tables_keys_and_not_by_its_own(ground: Ground) -> None:
    """DynamoDB filters by the table's keys, the service by the index's own."""
    request: dict[str, Any] = {
        "IndexName": "by_kind",
        "KeyConditionExpression": "kind = :k",
        "values": {":k": {"S": "k"}, ":v": {"S": "x"}},
    }
    assert ground.ask("query", FilterExpression="p = :v", **request)["Count"] == 4
    own = {"ExpressionAttributeNames": {"#r": "rank"}}
    words = ground.refusal("query", FilterExpression="#r <> :v", **own, **request)
    assert "Primary key attribute: rank" in words
    plan = ground.plan("kind = 'k' AND rank <> 1 AND contains(p, 'x')", index="by_kind")
    assert plan.filter is not None
    assert plan.local_filter is not None
    answer = await ground.answer("kind = 'k' AND rank <> 1 AND contains(p, 'x')", index="by_kind")
    assert len(answer) == 3


@pytest.mark.fact(14)
@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("#s = :null", 1),
        ("#s <> :on", 3),
        ("NOT #s = :on", 3),
        ("#s < :on", 0),
        ("#s > :one", 0),
        ("attribute_not_exists(#s)", 1),
        ("size(#s) <> :one", 4),
        ("size(#s) = :two", 1),
    ],
)
async def test_missing_is_neither_null_nor_an_error(
    ground: Ground, condition: str, found: int
) -> None:
    """A missing value, one of another type and the size of a value without one match nothing."""
    given = {"null": {"NULL": True}, "on": {"S": "on"}, "one": {"N": "1"}, "two": {"N": "2"}}
    used = {name: value for name, value in given.items() if condition.endswith(f":{name}")}
    answer = ground.ask(
        "scan",
        FilterExpression=condition,
        ExpressionAttributeNames={"#s": "state"},
        **({"values": {f":{name}": value for name, value in used.items()}} if used else {}),
    )
    assert answer["Count"] == found
    text = f"p = 'x' AND {condition.replace('#s', 'state')}"
    assert len(await ground.answer(text, values=used)) == found


@pytest.mark.fact(14)
@pytest.mark.parametrize(
    ("condition", "given"),
    [
        ("kind = kind", {}),
        ("kind < :v", {"v": {"BOOL": True}}),
        ("kind < :v", {"v": {"L": []}}),
        ("begins_with(kind, :v)", {"v": {"N": "1"}}),
        ("kind BETWEEN :v AND :w", {"v": {"N": "1"}, "w": {"S": "1"}}),
    ],
)
async def test_some_conditions_are_refused_statically(
    ground: Ground, condition: str, given: dict[str, Any]
) -> None:
    """DynamoDB refuses such conditions where it would evaluate them, the service on every path."""
    aliased = {f":{name}": value for name, value in given.items()}
    request = {"values": aliased} if aliased else {}
    ground.refusal("scan", FilterExpression=condition, **request)
    with pytest.raises(ExpressionError):
        ground.plan(f"p = 'x' AND {condition}", values=given)


@pytest.mark.fact(14)
async def test_doubled_parentheses_are_refused_and_never_sent(ground: Ground) -> None:
    """Callers may write doubled parentheses; DynamoDB receives as few as possible."""
    words = ground.refusal("scan", FilterExpression="((p = :x))", values=X)
    assert "redundant parentheses" in words
    assert len(await ground.answer("p = 'x' AND ((NOT ((state = 'off'))))")) == 4


@pytest.mark.fact(14)
async def test_a_scan_may_filter_on_keys_and_starts_only_within_its_range(ground: Ground) -> None:
    """A start key of another partition is an error; the service's cursors belong to their query."""
    assert ground.ask("scan", FilterExpression="p = :x", values=X)["Count"] == 4
    assert len(await ground.answer("contains(p, 'x')")) == 4
    other = {"p": {"S": "y"}, "timestamp": {"S": "2026"}}
    words = ground.refusal(
        "query", KeyConditionExpression="p = :x", ExclusiveStartKey=other, values=X
    )
    assert "starting key" in words


@pytest.mark.fact(15)
async def test_timestamps_are_text_to_dynamodb(ground: Ground) -> None:
    """Half a second past midnight sorts before midnight, unless all have one width."""
    answer = ground.query("p = :x", values=X)
    assert values(answer["Items"], "timestamp") == [*MOMENTS, "2026-01-02"]
    assert values(await ground.answer("p = 'x'"), "timestamp") == [*MOMENTS, "2026-01-02"]
    from_midnight = await ground.answer(f"p = 'x' AND timestamp >= '{MOMENTS[1]}'")
    assert MOMENTS[0] not in values(from_midnight, "timestamp")
