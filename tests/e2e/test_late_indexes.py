"""Global indexes that are younger than their items hide no item from a query.

DynamoDB leaves out of such an index, silently, the items whose attributes are no valid keys, and
DynamoDB Local only some of them. So each index is that of a second table, into which only the items
that DynamoDB accepts there were written, and a stub sends the queries of the index to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import grpc
import pytest
from botocore.exceptions import ClientError
from hypothesis import settings

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.value_pb2 import AttributeValue, ListValue, StringSet
from tests.faults.stub import Act, Ask, Reply, open_stub, reply_with
from tests.support.conditions import WireItem
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client
from tests.support.running import UNLIMITED, Service, open_service

# 10 tables with 40 conditions each; the deep profile runs ten times as many.
SEEDS: Final = range(10)
CONDITIONS: Final = settings().max_examples * 2 // 5
ITEMS: Final = 60
TYPES: Final = {"id": "S", "g": "S", "s": "S", "n": "N", "b": "B"}
INDEXES: Final = (
    Index("by_g", False, ("g",), ()),
    Index("by_g_and_s", False, ("g",), ("s",)),
    Index("by_g_and_n", False, ("g",), ("n",)),
    Index("by_n_and_s", False, ("n",), ("s",), "KEYS_ONLY"),
    Index("by_g_and_n_then_s", False, ("g", "n"), ("s", "b")),
    Index("by_b", False, ("b",), ("g",)),
)
LONG: Final = "x" * 1_025
VALUES: Final[tuple[dict[str, Any], ...]] = (
    {"S": "a"}, {"S": "b"}, {"S": "ab"}, {"S": ""}, {"S": LONG}, {"S": "x" * 1_024},
    {"S": "x" * 2_049}, {"S": "é"}, {"N": "1"}, {"N": "2"}, {"N": "-3.5"}, {"N": "0"},
    {"B": b"a"}, {"B": b""}, {"B": b"x" * 1_025}, {"BOOL": True}, {"NULL": True},
    {"L": [{"S": "a"}]}, {"SS": ["a", "b"]}, {"M": {"a": {"S": "a"}}},
)  # fmt: skip
_USUAL: Final = {"g": ("a", "b"), "s": ("a", "ab", "b"), "n": ("1", "2"), "b": (b"a", b"ab")}
_OPERATORS: Final = ("=", "=", "<>", "<", "<=", ">", ">=")


def _make_item(random: Random, number: int) -> WireItem:
    item: WireItem = {"id": {"S": str(number)}, "other": random.choice(VALUES)}
    for name, usual in _USUAL.items():
        if (chance := random.random()) < 0.65:
            item[name] = {TYPES[name]: random.choice(usual)}
        elif chance < 0.88:
            item[name] = random.choice(VALUES)
    return item


@dataclass(frozen=True, slots=True)
class LateTable:
    """A table and, by index, the table that has the index."""

    name: str
    shown: dict[str, str]

    async def describe(self, request: dict[str, Any], ask: Ask) -> Reply:
        """Return DescribeTable's answer, with all indexes."""
        answer = await ask(request)
        table = answer["Table"]
        described = [await ask({"TableName": name}) for name in self.shown.values()]
        table["GlobalSecondaryIndexes"] = [
            index for one in described for index in one["Table"]["GlobalSecondaryIndexes"]
        ]
        table["AttributeDefinitions"] = [
            {"AttributeName": name, "AttributeType": kind} for name, kind in TYPES.items()
        ]
        return reply_with(answer)

    async def read(self, request: dict[str, Any], ask: Ask) -> Reply:
        """Return the answer to a Query of the table or of an index."""
        index = request.get("IndexName")
        table = self.name if index is None else self.shown[index]
        return reply_with(await ask({**request, "TableName": table}))

    @property
    def acts(self) -> dict[str, Act]:
        """The stub's answers in place of DynamoDB's."""
        return {"DescribeTable": self.describe, "Query": self.read}


def _make_table(client: Any, seed: int) -> LateTable:
    random = Random(seed)
    name = f"late-{seed}-{uuid.uuid4().hex[:8]}"
    items = [_make_item(random, number) for number in range(ITEMS)]
    create_table(client, Schema(name, "id", None, (), {"id": "S"}))
    for item in items:
        client.put_item(TableName=name, Item=item)
    shown = {}
    for index in INDEXES:
        shown[index.name] = table = f"{name}-{index.name}"
        types = {key: TYPES[key] for key in ("id", *index.keys)}
        create_table(client, Schema(table, "id", None, (index,), types))
        for item in items:
            # An item that DynamoDB refuses has no valid key, so no later index would have it.
            with contextlib.suppress(ClientError):
                client.put_item(TableName=table, Item=item)
    return LateTable(name, shown)


@dataclass
class _Writer:
    """Writes random conditions, with their parameters."""

    random: Random
    parameters: dict[str, AttributeValue]

    def condition(self) -> str:
        """Return a condition, most often one that fixes a partition key of an index."""
        index = self.random.choice(INDEXES)
        parts = [self._choice(name) for name in index.partition if self.random.random() < 0.95]
        parts += [self._leaf(name) for name in index.sort if self.random.random() < 0.8]
        parts += [self._term() for _ in range(self.random.choice((0, 0, 1, 2)))]
        self.random.shuffle(parts)
        return " AND ".join(parts) or self._term()

    def _choice(self, name: str) -> str:
        if self.random.random() < 0.7:
            return f"{name} = {self._value(name)}"
        several = [self._value(name) for _ in range(self.random.randint(1, 3))]
        if self.random.random() < 0.5:
            return f"{name} IN ({', '.join(several)})"
        return f"({' OR '.join(f'{name} = {one}' for one in several)})"

    def _term(self) -> str:
        name = self.random.choice((*_USUAL, "other"))
        match self.random.randint(0, 5):
            case 0:
                return f"NOT {self._leaf(name)}"
            case 1:
                return f"({self._leaf(name)} OR {self._leaf(self.random.choice(('g', 's', 'n')))})"
            case 2:
                return f"({self._leaf(name)} OR {self._leaf(name)} AND {self._leaf('s')})"
        return self._leaf(name)

    def _leaf(self, name: str) -> str:  # noqa: C901 - one flat table of forms
        other = self.random.choice([each for each in _USUAL if each != name])
        operator = self.random.choice(_OPERATORS)
        kind = self.random.choice(TYPES.get(name, "SNB"))
        match self.random.randint(0, 14):
            case 0 | 1 | 2:
                return f"{name} {operator} {self._ordered(name)}"
            case 3:
                return f"{self._ordered(name)} {operator} {name}"
            case 4:
                return f"{name} {operator} {other}"
            case 5 | 6:
                return f"{name} BETWEEN {self._value(name, kind)} AND {self._value(name, kind)}"
            case 7:
                return f"{name} IN ({self._value(name)}, {self._value(name)})"
            case 8:
                return f"attribute_exists({name})"
            case 9:
                return f"attribute_type({name}, '{self.random.choice(('S', 'N', 'B', 'NULL'))}')"
            case 10:
                return f"{self.random.randint(0, 3)} {operator} size({name})"
            case 11:
                return f"begins_with({name}, {self._text(name)})"
            case 12:
                return f"begins_with({self._text(name)}, {name})"
            case 13:
                return f"contains({name}, {self._value(name)})"
        return f"contains({self._list()}, {name})"

    def _value(self, name: str, kind: str | None = None) -> str:
        usual = self.random.random() < 0.7 and name in _USUAL and kind in (None, TYPES[name])
        if usual:
            wire: dict[str, Any] = {TYPES[name]: self.random.choice(_USUAL[name])}
        else:
            wire = self.random.choice([v for v in VALUES if kind is None or kind in v])
        return self._parameter(wire)

    def _ordered(self, name: str) -> str:
        kind = self.random.choice("SNB" + 6 * TYPES.get(name, "S"))
        return self._value(name, kind)

    def _text(self, name: str) -> str:
        return self._value(name, "B" if TYPES.get(name) == "B" else "S")

    def _list(self) -> str:
        values = [_message(self.random.choice(VALUES[:12])) for _ in range(3)]
        return self._add(AttributeValue(l=ListValue(values=values)))

    def _parameter(self, wire: dict[str, Any]) -> str:
        return self._add(_message(wire))

    def _add(self, value: AttributeValue) -> str:
        name = f"v{len(self.parameters)}"
        self.parameters[name] = value
        return f":{name}"


def _message(wire: dict[str, Any]) -> AttributeValue:
    ((kind, data),) = wire.items()
    match kind:
        case "L":
            return AttributeValue(l=ListValue(values=list(map(_message, data))))
        case "SS":
            return AttributeValue(ss=StringSet(values=data))
        case "M":
            message = AttributeValue()
            for name, value in data.items():
                message.m.fields[name].CopyFrom(_message(value))
            return message
    return AttributeValue(**{kind.lower(): data})


@pytest.fixture(scope="module")
def case_counts(show_line: Callable[[str], None]) -> Iterator[Counter[str]]:
    """Counts of compared conditions, printed and checked at the end."""
    counts: Counter[str] = Counter()
    yield counts
    show_line(
        f"indexes younger than their items: {counts['compared']} random conditions over "
        f"{counts['tables']} tables, index chosen freely against the table itself: "
        f"{counts['differences']} differences; {counts['by index']} read from an index, "
        f"{counts['items']} items in all, {counts['refused']} more refused both ways"
    )
    if counts["tables"] == len(SEEDS):
        assert counts["compared"] > len(SEEDS) * CONDITIONS * 3 // 4
        assert counts["by index"] > counts["compared"] // 5


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_chosen_index_hides_nothing(
    seed: int, tmp_path: Path, dynamodb_local: str, case_counts: Counter[str]
) -> None:
    """Whichever path the planner takes, the items are those that a scan of the table finds."""
    client = open_client(dynamodb_local)
    table = await asyncio.to_thread(_make_table, client, seed)
    random = Random(seed)
    catalog = {"tables": {"late": {"table": table.name, "allow_scan": True, "cache_ttl": 0}}}
    classes = {"default": UNLIMITED}
    async with (
        open_stub(dynamodb_local, table.acts) as stub,
        open_service(
            tmp_path, f"http://127.0.0.1:{stub.port}", catalog, rate_classes=classes
        ) as service,
    ):
        case_counts["tables"] += 1
        for _ in range(CONDITIONS):
            await _compare(service, random, case_counts)
    for name in (table.name, *table.shown.values()):
        client.delete_table(TableName=name)
    client.close()


async def _compare(service: Service, random: Random, case_counts: Counter[str]) -> None:
    writer = _Writer(random, {})
    spec = QuerySpec(table="late", expression=writer.condition(), parameters=writer.parameters)
    whole = QuerySpec()
    whole.CopyFrom(spec)
    whole.index = "@table"
    (chosen, index), (right, _) = await asyncio.gather(_ids(service, spec), _ids(service, whole))
    if isinstance(right, str):
        assert chosen == right == "INVALID_ARGUMENT", spec
        case_counts["refused"] += 1
        return
    case_counts["compared"] += 1
    case_counts["by index"] += bool(index)
    case_counts["items"] += len(right)
    case_counts["differences"] += chosen != right
    assert chosen == right, (index, spec)


async def _ids(service: Service, spec: QuerySpec) -> tuple[list[str] | str, str]:
    """Return the ids of a query's items, or the name of the status, and the index used."""
    try:
        answer = await service.query(spec, page_size=ITEMS)
    except grpc.aio.AioRpcError as refused:
        return refused.code().name, ""
    assert not answer.next_page_token
    return sorted(item.attributes["id"].s for item in answer.items), answer.stats.index_used
