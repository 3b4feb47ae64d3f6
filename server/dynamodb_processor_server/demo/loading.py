"""Creates the sample tables and fills them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aioboto3
from boto3.dynamodb.types import TypeSerializer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from dynamodb_processor_server.demo.backends import Backend
from dynamodb_processor_server.demo.failure import DemoFailed
from dynamodb_processor_server.demo.sample_table import Item, SampleKey, SampleTable
from dynamodb_processor_server.dynamodb.verified_sessions import verified_session

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html
_BATCH: Final = 25
_BATCHES_AT_ONCE: Final = 2
_FIRST_PAUSE: Final = 0.1  # seconds
_LONGEST_PAUSE: Final = 5.0
# The time until indexes show the written items; in AWS it takes a moment.
_LOOKS: Final = 60
_BETWEEN_LOOKS: Final = 1.0  # seconds
_CONFIG: Final = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 5},
    # Validation of thousands of items against the service model is slow, and not needed.
    parameter_validation=False,
)


async def load(backend: Backend, tables: Sequence[SampleTable]) -> str:
    """Create the tables with all their items, as far as they are missing, and return the region.

    Raises:
        DemoFailed: DynamoDB refuses, or has other tables with these names.
    """
    session = aioboto3.Session(botocore_session=verified_session())
    try:
        async with session.client(
            "dynamodb",
            region_name=backend.region,
            endpoint_url=backend.endpoint_url,
            config=_CONFIG,
        ) as client:
            for table in tables:
                loading = _Loading(client, table)
                await loading.create()
                if await loading.is_full():
                    continue
                await loading.fill()
                if backend.is_real:  # indexes of the emulators show a write at once
                    await loading.wait_until_full()
            return str(client.meta.region_name)
    except (BotoCoreError, ClientError) as error:
        raise DemoFailed(f"the sample tables cannot be made: {error}") from error


@dataclass(frozen=True, slots=True)
class _Loading:
    """The loading of one table; `sleep` waits for a number of seconds."""

    client: DynamoDBClient
    table: SampleTable
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

    async def create(self) -> None:
        """Create the table if it is missing, and wait until it is active."""
        name = self.table.dynamodb_name
        try:
            await self.client.create_table(**_definition(self.table))
        except self.client.exceptions.ResourceInUseException:
            await self._check_keys()
        await self.client.get_waiter("table_exists").wait(
            TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
        )

    async def _check_keys(self) -> None:
        answer = await self.client.describe_table(TableName=self.table.dynamodb_name)
        found: Any = answer["Table"]
        keys = {None: found["KeySchema"]}
        keys |= {
            index["IndexName"]: index["KeySchema"]
            for index in found.get("GlobalSecondaryIndexes", ())
        }
        if keys != {index: _key_schema(key) for index, key in self.table.paths.items()}:
            raise DemoFailed(
                f"there is a table {self.table.dynamodb_name} with other keys: delete it first"
            )

    async def fill(self) -> None:
        """Write all items."""
        slots = asyncio.Semaphore(_BATCHES_AT_ONCE)

        async def put(batch: Sequence[Item]) -> None:
            async with slots:
                await self._put(batch)

        try:
            async with asyncio.TaskGroup() as group:
                for start in range(0, len(self.table.items), _BATCH):
                    group.create_task(put(self.table.items[start : start + _BATCH]))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None  # one reason is enough

    async def _put(self, batch: Sequence[Item]) -> None:
        """Write a batch; resend items that DynamoDB leaves unprocessed, after growing pauses."""
        pending: Any = {self.table.dynamodb_name: [_put_request(item) for item in batch]}
        pause = _FIRST_PAUSE
        while pending:
            answer = await self.client.batch_write_item(RequestItems=pending)
            pending = answer["UnprocessedItems"]
            if pending:
                await self.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def wait_until_full(self) -> None:
        """Wait until the indexes show the written items."""
        for _ in range(_LOOKS):
            if await self.is_full():
                return
            await self.sleep(_BETWEEN_LOOKS)
        raise DemoFailed(
            f"{self.table.dynamodb_name} does not hold exactly the items written to it: "
            "delete it first"
        )

    async def is_full(self) -> bool:
        """Tell whether the table and each of its indexes have the expected number of items."""
        for index in self.table.paths:
            if await self._count(index) != self.table.count(index):
                return False
        return True

    async def _count(self, index: str | None) -> int:
        source: dict[str, Any] = {"TableName": self.table.dynamodb_name, "Select": "COUNT"}
        if index is not None:
            source["IndexName"] = index
        pages = self.client.get_paginator("scan").paginate(**source)
        return sum([page["Count"] async for page in pages])


def _definition(table: SampleTable) -> dict[str, Any]:
    names = sorted({name for key in table.paths.values() for name in key.attributes})
    return {
        "TableName": table.dynamodb_name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in names],
        "KeySchema": _key_schema(table.key),
        "GlobalSecondaryIndexes": [
            {
                "IndexName": index,
                "KeySchema": _key_schema(key),
                "Projection": {"ProjectionType": "ALL"},
            }
            for index, key in table.indexes.items()
        ],
    }


def _key_schema(key: SampleKey) -> list[dict[str, str]]:
    return [
        {"AttributeName": key.partition, "KeyType": "HASH"},
        {"AttributeName": key.sort, "KeyType": "RANGE"},
    ]


def _put_request(item: Item) -> dict[str, Any]:
    serialize = TypeSerializer().serialize
    return {"PutRequest": {"Item": {name: serialize(value) for name, value in item.items()}}}
