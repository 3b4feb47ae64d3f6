"""Keys with each kind of grant, and the calls that tests make with them."""

from __future__ import annotations

from typing import Any

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest, Table
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    BatchGetItemsResponse,
)
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.rpc.data import VIKTOR
from tests.support.lengths import PATIENCE
from tests.support.running import (
    Service,
    make_key,
    query_spec,
)

RULE = "system_id = 'crm'"
CRM = {"table": "*", "rule": RULE}
OWN = {"table": "*", "rule": "system_id = ${principal}"}
GRANT_KEYS = [
    make_key("all"),
    make_key("crm", tables=[CRM]),
    make_key("crm-too", tables=[{**CRM, "table": "events"}]),
    make_key("billing", tables=[{**CRM, "rule": "system_id = 'billing'"}]),
    make_key("filtered", tables=[{**CRM, "rule_as_filter": True}]),
    make_key("plain", tables=[{"table": "events", "attributes": ["user_id", "at", "level"]}]),
    make_key("keyless", tables=[{"table": "events", "attributes": ["user_id", "level", "note"]}]),
    make_key("own-crm", principal="crm", tables=[OWN]),
    make_key("own-billing", principal="billing", tables=[OWN]),
    make_key("own-unfit", tables=[{**OWN, "rule": "at = ${principal}"}]),
    make_key("unfit", tables=[{"table": "events", "rule": "at = 'yesterday'"}]),
    make_key(
        "owner",
        tables=[{**CRM, "attributes": ["user_id", "at", "note"]}],
    ),
]


def of(user: str, more: str = "") -> query_pb2.QuerySpec:
    """Return a query of one user's events."""
    return query_spec("events", f"user_id = :u{more}", parameters={"u": user})


async def get_table(service: Service, key: str) -> Table:
    """Return the events table as the holder of a key sees it."""
    request = GetTableRequest(table="events")
    answer = await service.catalog.GetTable(
        request, metadata=service.metadata(key), timeout=PATIENCE
    )
    return answer.table


async def get_items(service: Service, key: str, *at: int, **fields: Any) -> BatchGetItemsResponse:
    """Return the response for a user's events with these numbers."""
    keys = [
        Item(attributes={"user_id": AttributeValue(s=VIKTOR), "at": AttributeValue(n=str(number))})
        for number in at
    ]
    request = BatchGetItemsRequest(table="events", keys=keys, **fields)
    return await service.queries.BatchGetItems(
        request, metadata=service.metadata(key), timeout=PATIENCE
    )
