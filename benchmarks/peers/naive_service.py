"""The service as a first version would be: aioboto3's resource, and messages by `json_format`.

It answers `Query` for one condition on the key, without authentication, cache or limits. Prints
its port. The argument is the endpoint of DynamoDB.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

import aioboto3
import grpc
import uvloop
from boto3.dynamodb.conditions import Key
from google.protobuf.json_format import ParseDict

from dynamodb_processor.v1.query_service_pb2 import QueryRequest, QueryResponse
from dynamodb_processor.v1.query_service_pb2_grpc import (
    QueryServiceServicer,
    add_QueryServiceServicer_to_server,
)


class NaiveService(QueryServiceServicer):
    """Answers queries from the table resource."""

    def __init__(self, table: Any) -> None:
        self._table = table

    async def Query(  # noqa: N802 - gRPC's name
        self, request: QueryRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> QueryResponse:
        """Return one page."""
        values = request.query.parameters
        condition = Key("user_id").eq(values["user"].s)
        condition &= Key("occurred_at").between(values["start"].s, values["end"].s)
        answer = await self._table.query(KeyConditionExpression=condition, Limit=request.page_size)
        items = [
            {"attributes": {name: _as_json(value) for name, value in item.items()}}
            for item in answer["Items"]
        ]
        return ParseDict({"items": items}, QueryResponse())


def _as_json(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"bool": value}
        case Decimal():
            return {"n": str(value)}
        case set():
            return {"ss": {"values": sorted(value)}}
    return {"s": value}


async def serve(endpoint_url: str, table_name: str) -> None:
    """Serve until killed."""
    async with aioboto3.Session().resource("dynamodb", endpoint_url=endpoint_url) as dynamodb:
        server = grpc.aio.server()
        table = await dynamodb.Table(table_name)
        naive = NaiveService(table)  # type: ignore[abstract]  # the other methods are unimplemented
        add_QueryServiceServicer_to_server(naive, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(port, flush=True)
        await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:]))
