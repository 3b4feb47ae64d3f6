"""Facts 16 to 25 of `dynamodb-facts.md`: values, indexes, batches and the cost of reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from dynamodb_processor_server.batch_reader import BatchGetRequest
from dynamodb_processor_server.dynamodb.item_reader import DynamoDBItemReader
from dynamodb_processor_server.errors import InvalidRequest
from dynamodb_processor_server.query.expression.values import parse_number
from dynamodb_processor_server.query.planning.request_builder import build_batch
from tests.contract.facts import Ground, MakeGround, values
from tests.support.datasets import Index, Schema
from tests.support.reads import CALLER, make_options

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCHEMA: Final = Schema(
    "facts-items", "p", "n",
    (
        Index("by_word", True, ("p",), ("word",), "KEYS_ONLY"),
        Index("by_blob", True, ("p",), ("blob",), "KEYS_ONLY"),
        Index("by_user", False, ("user",), ("word",), "INCLUDE", ("note",)),
        Index("by_place", False, ("land", "town"), ("word", "n")),
    ),
    {"p": "S", "n": "N", "word": "S", "blob": "B", "user": "S", "land": "S", "town": "S"},
)  # fmt: skip
# Sorted by their bytes in UTF-8, which is neither the order of UTF-16 nor that of a dictionary.
WORDS: Final = ("Z", "a", "é", "ｱ", "😀")
BLOBS: Final = (b"\x00", b"\x7f", b"\x80", b"\xff", b"\xff\x00")
ITEMS: Final[list[dict[str, Any]]] = [
    {
        "p": {"S": "x"},
        "n": {"N": str(n)},
        "word": {"S": WORDS[n]},
        "blob": {"B": BLOBS[n]},
        **({"user": {"S": "u"}} if n else {}),
        **({"town": {"S": "t"}} if n != 2 else {}),
        "land": {"S": "l"},
        "note": {"S": ""},
        "body": {"S": "b" * 5_000},
    }
    for n in range(5)
]
_MOST_WRITES: Final = 50
X: Final = {":x": {"S": "x"}}
BULK: Final = Schema("facts-bulk", "id", None, (), {"id": "N"})


@pytest.fixture(scope="module")
def ground(make_ground: MakeGround) -> Ground:
    """Five items of one partition and some indexes, of which one user has four."""
    return make_ground(SCHEMA, ITEMS)


@pytest.fixture
def extra(ground: Ground) -> Iterator[Any]:
    """A function that puts an item for the time of a test."""
    put: list[dict[str, Any]] = []

    def put_item(**attributes: Any) -> None:
        item = {"p": {"S": "extra"}, "n": {"N": "0"}, **attributes}
        ground.ask("put_item", Item=item)
        put.append({name: item[name] for name in ("p", "n")})

    yield put_item
    for key in put:
        ground.ask("delete_item", Key=key)


@pytest.mark.fact(16)
async def test_numbers_have_38_digits_and_one_identity(ground: Ground, extra: Any) -> None:
    """Numbers travel as text, and each spelling of a number is the same key."""
    digits = "1234567890" * 3 + "12345678"
    extra(n={"N": digits}, exact={"N": f"-{digits}"})
    (item,) = await ground.answer(f"p = 'extra' AND n = {digits}.0E0")
    assert (item["n"], item["exact"]) == ({"N": digits}, {"N": f"-{digits}"})
    too_many = {"p": {"S": "extra"}, "n": {"N": f"{digits}9"}}
    assert "38" in ground.refusal("put_item", Item=too_many)
    with pytest.raises(ValueError, match="at most 38"):
        parse_number(f"{digits}9")
    one, same = ground.plan("p = 'x' AND n = 1"), ground.plan("p = 'x' AND n = 1.0")
    assert one.cache_key == same.cache_key
    key = {"p": {"S": "x"}, "n": {"N": "1.0"}}
    assert ground.ask("get_item", Key=key)["Item"]["n"] == {"N": "1"}
    assert values(await ground.answer("p = 'x' AND n IN (1, 1.0, 1E0)"), "n") == ["1"]


@pytest.mark.fact(17)
@pytest.mark.parametrize(("name", "ordered"), [("word", WORDS), ("blob", BLOBS)])
async def test_keys_are_ordered_by_unsigned_bytes(
    ground: Ground, name: str, ordered: tuple[Any, ...]
) -> None:
    """Strings sort by their UTF-8 bytes; the evaluator compares them the same way."""
    own = ground.query("p = :x", IndexName=f"by_{name}", values=X)
    assert values(own["Items"], name) == list(ordered)
    given = {"low": ITEMS[2][name]}
    text = f"p = 'x' AND {name} > :low"
    for index in (f"by_{name}", "@table"):  # a key condition, then a filter
        found = await ground.answer(text, index=index, values=given)
        assert sorted(values(found, "n")) == ["3", "4"]


@pytest.mark.fact(18)
@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"p": {"S": ""}}, "empty string value"),
        ({"blob": {"B": b""}}, "empty binary value"),
        ({"tags": {"SS": []}}, "string set"),
    ],
)
async def test_empty_values_are_values_but_not_keys_nor_sets(
    ground: Ground, extra: Any, attributes: dict[str, Any], words: str
) -> None:
    """A condition on an empty key is INVALID_ARGUMENT."""
    extra(text={"S": ""}, bytes={"B": b""}, list={"L": []}, map={"M": {}})
    (item,) = await ground.answer("p = 'extra' AND text = '' AND size(bytes) = 0")
    assert item["map"] == {"M": {}}
    refused = {"p": {"S": "extra"}, "n": {"N": "1"}, **attributes}
    assert words in ground.refusal("put_item", Item=refused)
    with pytest.raises(InvalidRequest, match="p is a key and never empty"):
        ground.plan("p = ''")


@pytest.mark.fact(19)
@pytest.mark.parametrize("operation", ["query", "scan"])
async def test_global_indexes_have_no_consistent_reads(ground: Ground, operation: str) -> None:
    """Local indexes have; the service refuses or avoids such reads of global ones."""
    keyed: dict[str, Any] = {"values": X, "KeyConditionExpression": "p = :x"}
    local = ground.ask("query", IndexName="by_word", ConsistentRead=True, **keyed)
    assert local["Count"] == 5
    request: dict[str, Any] = {}
    if operation == "query":
        request = {"KeyConditionExpression": "#u = :x", "values": X}
        request["ExpressionAttributeNames"] = {"#u": "user"}
    words = ground.refusal(operation, IndexName="by_user", ConsistentRead=True, **request)
    assert "Consistent reads are not supported on global secondary indexes" in words
    with pytest.raises(InvalidRequest, match="consistent reads are not possible"):
        ground.plan("user = 'u' AND word > 'a'", index="by_user", consistent=True)
    plan = ground.plan("user = 'u' AND p = 'x' AND word > 'a'", consistent=True)
    assert plan.path.index in (None, "by_word")


@pytest.mark.fact(20)
async def test_a_local_index_fetches_missing_attributes_and_a_global_one_cannot(
    ground: Ground,
) -> None:
    """DynamoDB reads each such item from the table, at extra cost."""
    request: dict[str, Any] = {"values": X, "ReturnConsumedCapacity": "TOTAL"}
    local = {"KeyConditionExpression": "p = :x", "IndexName": "by_word", **request}
    lean = ground.ask("query", **local)
    whole = ground.ask("query", Select="ALL_ATTRIBUTES", **local)
    assert "body" not in lean["Items"][0]
    assert "body" in whole["Items"][0]
    cost = [answer["ConsumedCapacity"]["CapacityUnits"] for answer in (lean, whole)]
    assert cost[1] >= cost[0] + 5 * 0.5
    refused = ground.refusal(
        "query",
        IndexName="by_user",
        KeyConditionExpression="#u = :u",
        ExpressionAttributeNames={"#u": "user"},
        Select="ALL_ATTRIBUTES",
        values={":u": {"S": "u"}},
    )
    assert "ALL_ATTRIBUTES" in refused
    answer = await ground.answer("p = 'x' AND word > 'a'", index="by_word")
    assert all("body" in item for item in answer)


@pytest.mark.fact(21)
async def test_an_index_lacks_items_that_lack_its_keys(ground: Ground) -> None:
    """The service uses a sparse index only for queries that require its key attributes anyway."""
    keyed = {"KeyConditionExpression": "p = :x", "values": X}
    assert ground.ask("query", Select="COUNT", **keyed)["Count"] == 5
    assert ground.ask("scan", IndexName="by_user", Select="COUNT")["Count"] == 4
    rejected = {
        other.path.index: other.reason
        for other in ground.plan("p = 'x' AND land = 'l' AND town = 't'").rejected
    }
    assert "holds only items that have word" in rejected["by_place"]
    chosen = ground.plan("land = 'l' AND town = 't' AND word > 'a'")
    assert chosen.path.index == "by_place"


@pytest.mark.fact(22)
async def test_an_index_key_may_have_several_attributes(ground: Ground) -> None:
    """Partition attributes take equality, sort attributes conditions from the left."""
    given = {":l": {"S": "l"}, ":t": {"S": "t"}, ":w": {"S": "Z"}, ":n": {"N": "0"}}
    request: dict[str, Any] = {"IndexName": "by_place"}

    def condition(text: str) -> dict[str, Any]:
        used = {name: value for name, value in given.items() if name in text.split()}
        return {**request, "KeyConditionExpression": text, "values": used}

    assert ground.ask("query", **condition("land = :l AND town = :t"))["Count"] == 4
    full = "land = :l AND town = :t AND word = :w AND n >= :n"
    assert ground.ask("query", **condition(full))["Count"] == 1
    for wrong in (
        "land = :l",
        "land = :l AND town > :t",
        "land = :l AND town = :t AND n = :n",
        "land = :l AND town = :t AND word > :w AND n = :n",
    ):
        ground.refusal("query", **condition(wrong))
    plan = ground.plan("n >= 0 AND word > 'Z' AND town = 't' AND land = 'l'", index="by_place")
    assert len(plan.key.sort_conditions) == 1
    answer = await ground.answer(
        "n >= 0 AND word > 'Z' AND town = 't' AND land = 'l'", index="by_place"
    )
    assert values(answer, "word") == ["a", "ｱ", "😀"]


@pytest.mark.fact(22)
async def test_an_index_key_has_at_most_four_attributes_of_each_kind(
    make_ground: MakeGround,
) -> None:
    """The service creates and reads indexes with four attributes of each kind; five are refused."""
    names = [f"a{number}" for number in range(8)]
    types = dict.fromkeys(["id", *names], "S")
    wide = Index("by_eight", False, tuple(names[:4]), tuple(names[4:8]))
    item = {name: {"S": name} for name in types}
    ground = make_ground(Schema("facts-wide", "id", None, (wide,), types), [item])
    plan = ground.plan(" AND ".join(f"{name} = '{name}'" for name in names))
    assert (plan.path.index, len(plan.key.sort_conditions), plan.key.complete) == (
        "by_eight",
        4,
        True,
    )
    text = " AND ".join(f"{name} = '{name}'" for name in names[:7]) + " AND a7 BETWEEN 'a' AND 'b'"
    assert await ground.answer(text, index="by_eight") == [item]
    with pytest.raises(ground.client.exceptions.ClientError, match="at most 4 partition keys"):
        make_ground(
            Schema(
                "facts-wider",
                "id",
                None,
                (Index("by_five", False, tuple(names[:5]), ()),),
                dict.fromkeys(["id", *names[:5]], "S"),
            ),
            [],
        )


@pytest.mark.fact(23)
async def test_a_batch_has_at_most_100_keys_and_none_twice(ground: Ground) -> None:
    """DynamoDB leaves missing items out; the service reports the result of each key."""
    keys = [{"p": {"S": "x"}, "n": {"N": str(n)}} for n in range(101)]

    def batch(*asked: Any) -> Any:
        table = ground.schema.table
        return ground.client.batch_get_item(RequestItems={table: {"Keys": list(asked)}})

    invalid = ground.client.exceptions.ClientError
    with pytest.raises(invalid, match="Too many items requested"):
        batch(*keys)
    with pytest.raises(invalid, match="duplicates"):
        batch(keys[0], keys[0])
    assert len(batch(*keys[:100])["Responses"][ground.schema.table]) == 5
    request, shape = build_batch((), ground.table)
    lookup = BatchGetRequest(ground.table, tuple(keys[99:1:-1]), request, shape, consistent=False)
    found = await DynamoDBItemReader(ground.backend).get_items(lookup, make_options(), CALLER)
    assert sorted(index for index, item in found.items.items() if item) == [95, 96, 97]
    assert len(found.items) == 98


@pytest.mark.fact(23)
async def test_a_batch_answers_with_at_most_16_megabytes(make_ground: MakeGround) -> None:
    """The keys of the rest come back as unprocessed; the service requests them again."""
    items = [{"id": {"N": str(n)}, "text": {"S": "x" * 390_000}} for n in range(45)]
    ground = make_ground(BULK, [])
    for item in items:
        ground.ask("put_item", Item=item)
    keys = tuple({"id": item["id"]} for item in items)
    answer = ground.client.batch_get_item(RequestItems={BULK.table: {"Keys": list(keys)}})
    found, left = answer["Responses"][BULK.table], answer["UnprocessedKeys"][BULK.table]["Keys"]
    assert 0 < len(found) < 45 == len(found) + len(left)
    request, shape = build_batch((), ground.table)
    lookup = BatchGetRequest(ground.table, keys, request, shape, consistent=False)
    complete = await DynamoDBItemReader(ground.backend).get_items(lookup, make_options(), CALLER)
    assert all(complete.items[index] == item for index, item in enumerate(items))
    ground.client.delete_table(TableName=BULK.table)


@pytest.mark.fact(24)
async def test_an_expired_item_may_still_be_returned(make_ground: MakeGround) -> None:
    """DynamoDB deletes expired items some time later, and returns them until then.

    It may do so between a write and a read, so the item is written again until a read was faster.
    """
    schema = Schema("facts-expired", "id", None, (), {"id": "S"})
    item = {"id": {"S": "old"}, "expires": {"N": str(int(time.time()) - 60)}}
    ground = make_ground(schema, [])
    ground.ask(
        "update_time_to_live",
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"},
    )
    found, answered = None, []
    for _ in range(_MOST_WRITES):
        ground.ask("put_item", Item=item)
        found = ground.ask("get_item", Key={"id": {"S": "old"}}).get("Item")
        answered = await ground.answer("id = 'old'")
        if found and answered:
            break
    assert found == item
    assert answered == [item]


@pytest.mark.fact(25)
async def test_counting_and_filtering_cost_what_reading_costs(ground: Ground) -> None:
    """The service says so: its counts use as many read units as its pages."""
    request: dict[str, Any] = {
        "KeyConditionExpression": "p = :x",
        "ReturnConsumedCapacity": "TOTAL",
        "values": X,
    }
    costs = {
        ground.ask("query", **request, **more)["ConsumedCapacity"]["CapacityUnits"]
        for more in (
            {},
            {"Select": "COUNT"},
            {"FilterExpression": "note = :x"},
            {"ProjectionExpression": "note"},
        )
    }
    assert len(costs) == 1
    read, counted = await asyncio.gather(
        ground.pages("p = 'x'"), ground.pages("p = 'x'", counts=True)
    )
    used = {sum(page.usage.read_units for page in pages) for pages in (read, counted)}
    assert used == costs
