"""A query preparer over a DynamoDB with one kind of table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.catalog.config import CatalogConfig, TableConfig
from dynamodb_processor_server.catalog.description import parse_description
from dynamodb_processor_server.catalog.schema import TableSchema
from dynamodb_processor_server.limits.call_rate import RateClass
from dynamodb_processor_server.limits.planning_time import PlanningTimeLimits
from dynamodb_processor_server.rpc.decode.page_request import RawQuerySpec
from dynamodb_processor_server.rpc.planning import PlanningWork
from dynamodb_processor_server.rpc.prepared_queries import PreparedQuery, QueryPreparer
from tests.support.limits import Clock
from tests.support.work import InlineExecutor

CALLER = Principal("key-1", "reports", frozenset({"reader"}), (Grant("events"),), "default")

_UNLIMITED = RateClass(1_000, planning_seconds_per_second=None)


@dataclass
class Described:
    """A DynamoDB with one kind of table; `sort` is its sort key."""

    sort: str = "at"
    asked: list[str] = field(default_factory=list)

    async def describe(self, name: str, config: TableConfig) -> TableSchema:
        """Describe a table."""
        self.asked.append(name)
        names = {"user_id": "HASH", self.sort: "RANGE"}
        return parse_description(
            {
                "TableName": config.table,
                "AttributeDefinitions": [
                    {"AttributeName": name, "AttributeType": "S"} for name in names
                ],
                "KeySchema": [
                    {"AttributeName": name, "KeyType": kind} for name, kind in names.items()
                ],
            }
        )

    async def list_names(self) -> Sequence[str]:
        """Return no names."""
        return []


@dataclass
class Prepared:
    """A query preparer and the objects that it uses."""

    describer: Described = field(default_factory=Described)
    rates: RateClass = _UNLIMITED
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        declaration = CatalogConfig.model_validate({"tables": {"events": None}})
        self.catalog = Catalog(declaration, self.describer)
        self.limits = PlanningTimeLimits({"default": self.rates}, self.clock)
        work = PlanningWork(self.limits, InlineExecutor())
        self.preparation = QueryPreparer(self.catalog, work)

    async def __call__(self, spec: QuerySpec, *grants: Grant) -> PreparedQuery:
        """Prepare a query, for a caller with the given grants if there are any."""
        caller = replace(CALLER, grants=grants) if grants else CALLER
        return await self.preparation.prepare(RawQuerySpec.of(spec), caller, ())
