"""Behaviour of DynamoDB Local on which the DynamoDB reader and its neighbours rely."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest
from aiobotocore.session import get_session

from dynamodb_processor_server.catalog.config import TableConfig
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.clients import Clients, ClientSettings
from dynamodb_processor_server.dynamodb.reader import DynamoDBReader
from dynamodb_processor_server.dynamodb.table_describer import TableDescriber
from dynamodb_processor_server.errors import (
    BackendUnavailable,
    PreconditionFailed,
    TableNotFound,
)
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.reader import START, Page
from tests.contract.readings import SCHEMA
from tests.faults.stub import open_stub, refusal
from tests.support.datasets import Schema
from tests.support.dynamodb import CREDENTIALS, REGION, create_table
from tests.support.fake_reader import items_of
from tests.support.reads import make_read
from tests.unit.query.tables import make_schema, make_table

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALL_TYPES: Final = Schema("contract-types", "id", "sort", (), {"id": "S", "sort": "B"})
ITEMS: Final[list[dict[str, Any]]] = [
    {"id": {"S": "plain"}, "sort": {"B": b"\x00"}, "text": {"S": '{"B": "QQ=="}'}},
    {
        "id": {"S": "all"},
        "sort": {"B": b"\xff\x00"},
        "s": {"S": "größe 😀"},
        "empty": {"S": ""},
        "n": {"N": "-12345678901234567890123456789012345678"},
        "b": {"B": b"\x00\x01\xfe\xff"},
        "no bytes": {"B": b""},
        "yes": {"BOOL": True},
        "no": {"BOOL": False},
        "nil": {"NULL": True},
        "ss": {"SS": ["a", "ß"]},
        "ns": {"NS": ["1", "2.5"]},
        "bs": {"BS": [b"\x00", b"\xff\xfe"]},
        "l": {"L": [{"B": b"x"}, {"BS": [b"y"]}, {"L": [{"B": b"z"}, {"M": {}}]}, {"S": "QQ=="}]},
        "m": {"M": {"B": {"B": b"b"}, "BS": {"BS": [b"1", b"2"]}, "L": {"L": []}, "S": {"N": "1"}}},
    },
    {"id": {"S": "names"}, "sort": {"B": b"\x01"}, "B": {"S": "QQ=="}, "BS": {"SS": ["QQ=="]}},
]


def plan_for(text: str, schema: Schema = SCHEMA, **fields: Any) -> Plan:
    """Return the plan of a query as the planner makes it of a table that exists."""
    query = Query(schema.table, parse_expression(text, {}), **fields)
    return plan_query(query, make_table(schema, sparse="allow"))


async def read(backend: Backend, plan: Plan) -> Page:
    """Read one page."""
    return await DynamoDBReader(backend, 1_000_000).read_page(make_read(plan, START, 100))


@pytest.fixture(scope="module")
def types(dynamodb: Any) -> str:
    """A table with items of every type."""
    create_table(dynamodb, ALL_TYPES)
    for item in ITEMS:
        dynamodb.put_item(TableName=ALL_TYPES.table, Item=item)
    return ALL_TYPES.table


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("scan", {}),
        ("scan", {"Limit": 1}),
        ("scan", {"Limit": 2, "ReturnConsumedCapacity": "INDEXES"}),
        ("scan", {"Select": "COUNT"}),
        ("get_item", {"Key": {name: ITEMS[1][name] for name in ("id", "sort")}}),
        ("get_item", {"Key": {"id": {"S": "nobody"}, "sort": {"B": b"x"}}}),
        *(
            (
                "query",
                {
                    "KeyConditionExpression": "id = :id",
                    "ExpressionAttributeValues": {":id": item["id"]},
                    "ReturnConsumedCapacity": "TOTAL",
                },
            )
            for item in (*ITEMS, {"id": {"S": "nobody"}})
        ),
    ],
)
async def test_answers_are_those_of_aiobotocore(
    clients: Clients, types: str, dynamodb_local: str, operation: str, request_: dict[str, Any]
) -> None:
    """They agree on all types, nested values, keys, odd names and empty answers."""
    fast = await getattr(await clients.client(), operation)(TableName=types, **request_)
    credentials = {name.lower(): value for name, value in CREDENTIALS.items() if "KEY" in name}
    async with get_session().create_client(
        "dynamodb", region_name=REGION, endpoint_url=dynamodb_local, **credentials
    ) as client:
        slow = await getattr(client, operation)(TableName=types, **request_)
    for answer in (fast, slow):
        metadata = answer.pop("ResponseMetadata")
        assert metadata["HTTPStatusCode"] == 200
        assert metadata["RequestId"]
        assert metadata["RetryAttempts"] == 0
    assert fast == slow


async def test_batches_stay_as_they_are(clients: Clients, types: str) -> None:
    """Items of several tables stay grouped by table."""
    client = await clients.client()
    keys: list[Any] = [{name: item[name] for name in ("id", "sort")} for item in ITEMS]
    answer = await client.batch_get_item(RequestItems={types: {"Keys": keys}})
    found = {item["id"]["S"]: item for item in answer["Responses"][types]}
    assert set(found) == {item["id"]["S"] for item in ITEMS}
    assert found["all"]["bs"]["BS"] in ([b"\x00", b"\xff\xfe"], [b"\xff\xfe", b"\x00"])
    assert found["names"] == ITEMS[2]


async def test_tables_are_described(backend: Backend, dynamodb: Any) -> None:
    """Tables are described in the catalog's terms, several key attributes included."""
    describer = TableDescriber(backend)
    config = TableConfig(table=SCHEMA.table)
    found = await describer.describe("readings", config)
    assert found == replace(make_schema(SCHEMA), identity=found.identity)
    assert found.identity.name == SCHEMA.table
    assert SCHEMA.table in await describer.list_names()


async def test_a_missing_table_is_called_by_its_logical_name(backend: Backend) -> None:
    """The error names the logical table, when it is described and when it is read."""
    gone = replace(SCHEMA, table="contract-gone")
    with pytest.raises(TableNotFound, match="table events does not exist"):
        await TableDescriber(backend).describe("events", TableConfig(table=gone.table))
    plan = plan_for("device = 'd'", gone)
    renamed = Table("events", plan.table.config, plan.table.schema)
    with pytest.raises(TableNotFound, match="table events does not exist"):
        await read(backend, replace(plan, table=renamed))


async def test_an_index_that_is_gone_is_a_failed_precondition(backend: Backend) -> None:
    """A plan that was made while the index existed fails with FAILED_PRECONDITION."""
    plan = plan_for("level = 'low'")
    request = {**plan.requests[0], "IndexName": "by_moon"}
    with pytest.raises(PreconditionFailed) as caught:
        await read(backend, replace(plan, requests=(request,)))
    assert caught.value.reason == "INDEX_GONE"


async def test_an_unreachable_dynamodb_is_unavailable() -> None:
    """A connection that is refused is UNAVAILABLE, and the caller does not see the address."""
    settings = ClientSettings(endpoint_url="http://127.0.0.1:1", region=REGION)
    async with Clients(settings) as clients:
        with pytest.raises(BackendUnavailable) as caught:
            await read(Backend(clients), plan_for("device = 'd1'"))
    assert caught.value.message == f"{SCHEMA.table} cannot be reached at the moment"


async def test_throttling_in_place_of_an_answer_is_retried(
    dynamodb: Any, dynamodb_local: str
) -> None:
    """Throttling, which DynamoDB Local lacks, is classified like any other failure."""
    async with open_stub(dynamodb_local) as stub:
        stub.script = lambda number, _: refusal("ThrottlingException") if number == 1 else None
        settings = ClientSettings(endpoint_url=f"http://127.0.0.1:{stub.port}", region=REGION)
        async with Clients(settings) as clients:
            backend = Backend(clients)
            page = await read(backend, plan_for("device = 'd1'"))
    ((_, record),) = backend.tables()
    assert dict(record.outcomes) == {"throttled": 1, "ok": 1}
    assert (page.content.count, page.usage.retries) == (45, 1)


@pytest.mark.parametrize(
    "text",
    [
        " OR ".join(f"x{n} = {n}" for n in range(140)),
        " OR ".join(f"x{n} = {n}" for n in range(200)),
        f"x IN ({', '.join(map(str, range(100)))})",
        f"x IN ({', '.join(map(str, range(101)))})",
        f"x IN ({', '.join(map(str, range(350)))})",
        f"NOT x IN ({', '.join(map(str, range(101)))})",
        f"y = 1 OR NOT (x IN ({', '.join(map(str, range(101)))}) OR z IN (1, 2))",
        f"x IN ({', '.join(map(str, range(1200)))})",
        " OR ".join(f"x = {n}" for n in range(300)),
        " OR ".join(["x = 1"] * 120),
        " OR ".join(f"x{n}.yyyyyy.zzzzzz[{n}] < {n}" for n in range(130)),
        " OR ".join(f"a.b.c.d.e.f.g.h.i.j.k.l[{n}] < 0" for n in range(140)),
        "NOT " * 30 + "x = 1",
        "NOT (" * 15 + "x = 1 AND y = 2" + ")" * 15,
        "((x = 1) OR (y = 2 AND (z = 3 OR (x = 4))))",
        "x.y" + ".z" * 30 + " = 1",
        "x BETWEEN 9 AND 1 OR size(x) BETWEEN 9 AND 1",
        'timestamp = 1 AND "select" = 2 AND "a.b" = 3 AND "#0" = 4 AND ":0" = 5',
        "size(at) > 1 OR size(level) > 1 OR at > 5",
        "level <> 'x' AND contains(device, 'd') AND attribute_type(score, 'N')",
        f"x = '{'v' * 8000}'",
        f"{'n' * 8000} = 1",
    ],
    ids=lambda text: text[:40],
)
async def test_dynamodb_accepts_the_planners_requests(backend: Backend, text: str) -> None:
    """DynamoDB accepts long, wide, deep and odd conditions on tables and indexes."""
    for key in (
        "device = 'd1'",
        "level = 'low'",
        "device IN ('d1', 'd2', 'd3') AND at > 0",
        "device = 'd1' AND at = 0",
    ):
        await read(backend, plan_for(f"{key} AND ({text})"))


@pytest.mark.parametrize("operands", [100, 101, 250, 1200])
async def test_dynamodb_finds_the_items_of_a_long_in(backend: Backend, operands: int) -> None:
    """A long IN finds its items whether DynamoDB takes it whole, in parts or not at all."""
    options = ", ".join(str(number) for number in range(operands, 0, -1))
    page = await read(backend, plan_for(f"device = 'd1' AND doc.n IN ({options})"))
    assert page.content.count == 44
    none = await read(backend, plan_for(f"device = 'd1' AND NOT doc.n IN ({options})"))
    assert [item["doc"]["M"]["n"] for item in items_of(none)] == [{"N": "0"}]


@pytest.mark.parametrize("size", [1, 60])
async def test_dynamodb_takes_fifty_partitions(backend: Backend, size: int) -> None:
    """Fifty partitions are read at the same time, with long names and filter values."""
    names = [f"{'x' * size}{number}" for number in range(50)]
    listed = ", ".join(f"'{name}'" for name in names)
    plan = plan_for(f"device IN ({listed}) AND at > 0 AND note IN ({listed})")
    page = await read(backend, plan)
    assert (page.content.count, page.usage.backend_calls) == (0, 50)


async def test_projections_may_name_anything_but_members_of_keys(backend: Backend) -> None:
    """A projection may have names with dots and quotes, reserved words and list elements."""
    names = ("timestamp", '"a.b"', '"quo""ted"', "doc.list[1]", "doc.n", "level", '"größe"[0]')
    page = await read(backend, plan_for("device = 'd1'", projection=tuple(map(parse_path, names))))
    assert page.content.count == 45
