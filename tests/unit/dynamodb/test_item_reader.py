"""Gets of items by key: unprocessed keys are requested again while time and budget remain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from dynamodb_processor_server.batch_reader import BatchGetRequest, BatchGetResult
from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.dynamodb.item_reader import DynamoDBItemReader
from dynamodb_processor_server.errors import (
    BackendRefused,
    BackendUnavailable,
    DeadlineExceeded,
    TableNotFound,
)
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.request_builder import build_batch
from tests.support.reads import CALLER, make_options
from tests.support.warped_time import warped
from tests.unit.dynamodb.small_table import SCHEMA, make_items
from tests.unit.query.tables import make_table

_TABLE = SCHEMA.table
_ARN = f"arn:aws:dynamodb:eu-west-1:123456789012:table/{_TABLE}"


@dataclass
class StingyDynamoDB:
    """A client and its provider; it processes the first `at_once` keys of each request.

    It is asked for `table`, and its answers are about `answers_by`.

    A request takes `seconds` of the loop's time and one read unit. `failures` are raised in place
    of answers, by the number of the request from 0.
    """

    at_once: int = 100
    seconds: float = 0.0
    failures: Mapping[int, Exception] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    table: str = _TABLE
    answers_by: str = _TABLE

    async def client(self, region: str | None, role_arn: str | None) -> StingyDynamoDB:
        """Return the client."""
        return self

    async def batch_get_item(
        self,
        RequestItems: dict[str, Any],  # noqa: N803 - AWS's name
        ReturnConsumedCapacity: str,  # noqa: N803 - AWS's name
    ) -> dict[str, Any]:
        """Return the items of the first keys, last one first, and the other keys as unprocessed."""
        request = RequestItems[self.table]
        number = len(self.requests)
        self.requests.append(request)
        await asyncio.sleep(self.seconds)
        if number in self.failures:
            raise self.failures[number]
        processed, left = request["Keys"][: self.at_once], request["Keys"][self.at_once :]
        held = [item for item in make_items(10) if _key_of(item) in processed]
        unprocessed = {self.answers_by: {**request, "Keys": left}} if left else {}
        return {
            "Responses": {self.answers_by: held[::-1]},
            "UnprocessedKeys": unprocessed,
            "ConsumedCapacity": [{"TableName": _TABLE, "CapacityUnits": 1.0}],
            "ResponseMetadata": {},
        }


def _key_of(item: WireItem) -> WireItem:
    return {name: item[name] for name in SCHEMA.keys}


def keys(numbers: Sequence[int]) -> tuple[WireItem, ...]:
    """Return the keys of readings; those from 0 to 9 exist."""
    return tuple({"device": {"S": "d"}, "seq": {"N": str(number)}} for number in numbers)


async def get(
    dynamodb: StingyDynamoDB,
    numbers: Sequence[int],
    *,
    consistent: bool = False,
    sleep: Callable[[float], Any] = asyncio.sleep,
    jitter: Callable[[], float] = lambda: 1.0,
    **limits: Any,
) -> BatchGetResult:
    """Get readings."""
    table = make_table(SCHEMA, table=dynamodb.table)
    lookup = BatchGetRequest(table, keys(numbers), *build_batch((), table), consistent)
    backend = Backend(cast("Clients", dynamodb), sleep=sleep, jitter=jitter)
    reader = DynamoDBItemReader(backend, now=lambda: 1_000.0)
    return await reader.get_items(lookup, make_options(**limits), CALLER)


def sequence(found: BatchGetResult) -> dict[int, int | None]:
    """Return the number of the reading at each index that was read."""
    return {
        index: None if item is None else int(item["seq"]["N"])
        for index, item in found.items.items()
    }


@warped
async def test_items_are_matched_to_their_keys_in_any_order() -> None:
    """A key that DynamoDB neither returns nor leaves unprocessed does not exist."""
    dynamodb = StingyDynamoDB()
    found = await get(dynamodb, [7, 77, 2])
    assert sequence(found) == {0: 7, 1: None, 2: 2}
    assert (found.usage.items_scanned, found.usage.read_units) == (2, 1.0)
    assert (found.usage.backend_calls, found.usage.retries) == (1, 0)
    assert found.read_at == 1_000.0


@warped
async def test_unprocessed_keys_are_requested_again() -> None:
    """Each request has only the remaining keys, and the usage of all is added up."""
    dynamodb = StingyDynamoDB(at_once=2, seconds=0.5)
    found = await get(dynamodb, [5, 77, 3, 4, 88], consistent=True)
    assert sequence(found) == {0: 5, 1: None, 2: 3, 3: 4, 4: None}
    assert [len(request["Keys"]) for request in dynamodb.requests] == [5, 3, 1]
    assert all(request["ConsistentRead"] for request in dynamodb.requests)
    assert (found.usage.backend_calls, found.usage.read_units, found.usage.retries) == (3, 3.0, 0)
    assert found.usage.backend_time == 1.5


@pytest.mark.parametrize("answers_by", [_ARN, _TABLE], ids=["ARN", "name"])
def test_a_table_may_be_named_by_its_arn(answers_by: str) -> None:
    """Answers and unprocessed keys are found under the ARN, and under the name."""

    @warped
    async def run() -> None:
        dynamodb = StingyDynamoDB(at_once=2, table=_ARN, answers_by=answers_by)
        found = await get(dynamodb, [5, 77, 3, 4])
        assert sequence(found) == {0: 5, 1: None, 2: 3, 3: 4}
        assert len(dynamodb.requests) == 2

    run()


@warped
async def test_pauses_between_requests_grow_with_jitter() -> None:
    """They are random, from a part of 25 ms up to a part of a second."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    await get(StingyDynamoDB(at_once=1), range(8), sleep=sleep, jitter=lambda: 0.5)
    assert pauses == [0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.5]


@warped
async def test_keys_not_read_in_time_are_left_open() -> None:
    """The call ends after its soft deadline with the items it has."""
    dynamodb = StingyDynamoDB(at_once=1, seconds=2.0)
    found = await get(dynamodb, range(10), seconds=3.0)
    assert sequence(found) == {0: 0}
    assert found.usage.backend_calls == 1


@warped
async def test_a_request_that_takes_too_long_leaves_the_rest_open() -> None:
    """The request is cancelled at the hard deadline; earlier items are kept."""
    started = asyncio.get_running_loop().time()
    found = await get(StingyDynamoDB(at_once=3, seconds=2.0), range(10), seconds=5.0)
    assert sequence(found) == {index: index for index in range(6)}
    assert asyncio.get_running_loop().time() - started == pytest.approx(5.0)


@warped
async def test_no_answer_in_time_is_an_error() -> None:
    """Without any item the call fails."""
    with pytest.raises(DeadlineExceeded):
        await get(StingyDynamoDB(seconds=10.0), [1], seconds=3.0)


@warped
async def test_a_dynamodb_that_processes_nothing_leaves_everything_open() -> None:
    """DynamoDB did answer, so no key has a result and the call succeeds.

    The pauses are those after throttling, and none ends after the soft deadline.
    """
    dynamodb, started = StingyDynamoDB(at_once=0), asyncio.get_running_loop().time()
    found = await get(dynamodb, [1, 2], jitter=lambda: 0.5, seconds=3.0)
    assert found.items == {}
    assert found.usage.backend_calls == 3
    assert asyncio.get_running_loop().time() - started == pytest.approx(1.5)


@warped
async def test_a_budget_of_read_units_ends_the_requests() -> None:
    """The request that reaches the budget is the last."""
    found = await get(StingyDynamoDB(at_once=1), range(10), max_read_units=2.5)
    assert sequence(found) == {0: 0, 1: 1, 2: 2}


def refused(code: str) -> ClientError:
    """Return DynamoDB's refusal of a request."""
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "BatchGetItem")


@warped
async def test_a_failure_after_the_first_answer_leaves_the_rest_open() -> None:
    """DynamoDB leaves keys unprocessed, then throttles; its earlier items are kept."""
    throttled = refused("ProvisionedThroughputExceededException")
    failures = dict.fromkeys(range(1, 4), throttled)
    found = await get(StingyDynamoDB(at_once=2, failures=failures), range(5))
    assert sequence(found) == {0: 0, 1: 1}


@warped
async def test_a_transient_failure_costs_a_retry() -> None:
    """The retry is counted among the requests, and as a retry."""
    throttled = refused("ThrottlingException")
    found = await get(StingyDynamoDB(at_once=2, failures={1: throttled}), range(4))
    assert sequence(found) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert (found.usage.backend_calls, found.usage.retries) == (3, 1)


@warped
async def test_answers_without_items_draw_on_the_retry_budget() -> None:
    """With the budget spent, the rest is left open: a failing table gets no more requests."""
    dynamodb = StingyDynamoDB(at_once=0)
    found = await get(dynamodb, [1, 2], seconds=1_000.0)
    assert found.items == {}
    assert len(dynamodb.requests) == 12  # the budget of ten, and retries that answers earned


@warped
async def test_failures_without_items_are_errors() -> None:
    """The failure is raised as a domain error."""
    for code, expected in {
        "ProvisionedThroughputExceededException": BackendUnavailable,
        "ResourceNotFoundException": TableNotFound,
        "AccessDeniedException": BackendRefused,
    }.items():
        with pytest.raises(expected):
            await get(StingyDynamoDB(failures=dict.fromkeys(range(3), refused(code))), [1])


@warped
async def test_a_bug_is_never_hidden() -> None:
    """A bug is raised even after the first answer."""
    denied = refused("AccessDeniedException")
    with pytest.raises(BackendRefused):
        await get(StingyDynamoDB(at_once=1, failures={1: denied}), [1, 2])
