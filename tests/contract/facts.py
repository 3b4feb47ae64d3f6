"""Fixtures for tests of `dynamodb-facts.md`: DynamoDB Local, read directly and by the service.

Each such test shows one behaviour of DynamoDB, and that the service copes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.reader import DynamoDBReader
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.expression.values import from_wire
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.reader import Page
from tests.contract.reads import joined, read_all
from tests.support.conditions import WireItem
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, put_items
from tests.unit.query.tables import make_table


class Ground:
    """One table, read directly and by the service."""

    def __init__(
        self,
        dynamodb: Any,
        backend: Backend,
        schema: Schema,
        items: list[WireItem],
        **fields: Any,
    ) -> None:
        create_table(dynamodb, schema)
        put_items(dynamodb, schema.table, items)
        self.items = items
        self.client = dynamodb
        self.backend = backend
        self.schema = schema
        self.table: Table = make_table(schema, **fields)

    def ask(self, operation: str, **request: Any) -> Any:
        """Return DynamoDB's own answer; `values` gives expression values in wire form."""
        values = request.pop("values", None)
        if values is not None:
            request["ExpressionAttributeValues"] = values
        return getattr(self.client, operation)(TableName=self.schema.table, **request)

    def query(self, condition: str, **request: Any) -> Any:
        """Return DynamoDB's answer to a query."""
        return self.ask("query", KeyConditionExpression=condition, **request)

    def refusal(self, operation: str, **request: Any) -> str:
        """Return DynamoDB's message when it refuses a request as invalid."""
        try:
            self.ask(operation, **request)
        except ClientError as error:
            found = error.response["Error"]
            assert found["Code"] == "ValidationException", found
            return str(found["Message"])
        raise AssertionError("DynamoDB takes this")

    def raw_pages(self, operation: str, **request: Any) -> Iterator[Any]:
        """Yield DynamoDB's answers, each from where the one before ended."""
        start: dict[str, Any] = {}
        while True:
            answer = self.ask(operation, **request, **start)
            yield answer
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def plan(self, text: str | None, **fields: Any) -> Plan:
        """Return the service's plan of a query; `values` gives parameters in wire form."""
        given = {name: from_wire(wire) for name, wire in fields.pop("values", {}).items()}
        condition = parse_expression(text, given) if text else None
        projection = tuple(map(parse_path, fields.pop("projection", ())))
        query = Query(self.schema.table, condition, projection=projection, **fields)
        return plan_query(query, self.table)

    async def pages(
        self, text: str | None, page_size: int = 100, *, max_bytes: int = 1_000_000, **fields: Any
    ) -> list[Page]:
        """Return the service's pages of a query."""
        reader = DynamoDBReader(self.backend, max_bytes)
        return await read_all(reader, self.plan(text, **fields), page_size)

    async def answer(self, text: str | None, page_size: int = 100, **fields: Any) -> list[Any]:
        """Return the items of all of the service's pages."""
        return joined(await self.pages(text, page_size, **fields))

    async def count(self, text: str | None, **fields: Any) -> int:
        """Return the service's count."""
        pages = await self.pages(text, 10_000, counts=True, **fields)
        return sum(page.content.count for page in pages)


MakeGround = Callable[..., Ground]


def values(items: list[Any], name: str) -> list[Any]:
    """Return the values that items have under a name, without the type."""
    return [next(iter(item[name].values())) for item in items]
