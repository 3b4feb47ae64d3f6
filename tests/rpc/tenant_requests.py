"""The requests of a tenant that tries to learn of other tenants' items."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.support.running import query_spec


def specs() -> Iterator[QuerySpec]:
    """Yield queries whose results lie among, beside and inside other tenants' items."""
    for text in (
        "user_id = 'u-1'",
        "user_id = 'u-other'",
        "user_id IN ('u-1', 'u-2', 'u-other', 'u-nobody')",
        "user_id = 'u-1' AND event_id > 'e-05'",
        "user_id = 'u-1' AND at BETWEEN 5 AND 45",
        "user_id = 'u-1' AND event_id = 'e-10'",
        "user_id = 'u-1' AND event_id = 'e-01-long-long!'",
        "user_id = 'u-1' AND contains(note, 'secret')",
        "user_id = 'u-2' AND kind = 'logout'",
        "kind = 'login'",
        "kind = 'login' AND at < 30",
        "tenant_id = 'acme'",
        "tenant_id = 'competitor'",
        "tenant_id IN ('acme', 'competitor')",
        "tenant_id = 'acme' AND at >= 20 AND user_id = 'u-3'",
        "tenant_id <> 'acme'",
        "at > 10",
        "note = 'x'",
        "",
    ):
        yield query_spec("events", text)
    yield query_spec("events", "user_id = 'u-1'", projection=["event_id"])
    for index, text in product(
        ("@table", "by_at", "by_kind", "by_owner"), ("user_id = 'u-1'", "kind = 'login'")
    ):
        yield query_spec("events", text, index=index)


def backwards(spec: QuerySpec) -> QuerySpec:
    """Return a query in descending order."""
    changed = QuerySpec()
    changed.CopyFrom(spec)
    changed.order = query_pb2.ORDER_DESCENDING
    return changed


def at_most(spec: QuerySpec, items: int) -> QuerySpec:
    """Return a query with a bound on its items."""
    changed = QuerySpec()
    changed.CopyFrom(spec)
    changed.max_items = items
    return changed


def bounded(up_to: int) -> query_pb2.TotalOptions:
    """Return the options of a bounded total."""
    return query_pb2.TotalOptions(mode=query_pb2.TOTAL_MODE_BOUNDED, up_to=up_to)


def key_lists() -> Iterator[list[Item]]:
    """Yield lists of the tenant's own keys, hidden ones and missing ones."""
    own = [_key("u-1", f"e-{number}0") for number in range(7)]
    hidden = [_key("u-1", "e-01-long-long!"), _key("u-other", "e-01-long-long!")]
    missing = [_key("u-1", "nothing"), _key("u-nobody", "e-00")]
    yield from (own, hidden, missing, [*hidden, *own, *missing], hidden[:1], missing[:1])


def _key(user: str, event_id: str) -> Item:
    values = {"user_id": AttributeValue(s=user), "event_id": AttributeValue(s=event_id)}
    return Item(attributes=values)
