"""The queries that take longest to plan among those that are accepted.

Each exceeds the size of remembered plans, so it is planned anew each time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.value_pb2 import AttributeValue, ListValue
from tests.support.messages import spec


def _conjuncts(number: int) -> QuerySpec:
    conditions = " AND ".join(f"a{n}={number}" for n in range(600))
    return spec("events", f"user_id = 'u-1' AND {conditions}")


def _nested(number: int) -> QuerySpec:
    condition = "(" * 30 + f"attribute={number}" + " OR other=1)" * 30
    return spec("events", f"user_id = 'u-1' AND {' AND '.join([condition] * 13)}")


def _values(number: int) -> QuerySpec:
    asked = spec("events", "user_id = 'u-1' AND note = :p")
    elements = [AttributeValue(n=str(number + n)) for n in range(4_900)]
    asked.parameters["p"].CopyFrom(AttributeValue(l=ListValue(values=elements)))
    return asked


def _partitions(number: int) -> QuerySpec:
    users = ",".join(f"'u-{number}-{n}'" for n in range(50))
    return spec("events", f"user_id IN ({users}) AND {' AND '.join(['a=1'] * 500)}")


#: By name, a function that makes the query of a number.
HEAVY_QUERIES: Final[dict[str, Callable[[int], QuerySpec]]] = {
    "600 conjuncts": _conjuncts,
    "30 levels": _nested,
    "4,900 values": _values,
    "50 partitions": _partitions,
}
