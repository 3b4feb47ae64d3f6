"""Pages whose next request is throttled: no read waits longer than its callers do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from dynamodb_processor_server.dynamodb.backend import Backend, BackendSettings
from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.dynamodb.reader import DynamoDBReader
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.reader import Page, PageEnd, PartialRead
from tests.support.reads import make_read
from tests.support.warped_time import warped
from tests.unit.dynamodb.scripted_client import FAILED, THROTTLED, throttled_by
from tests.unit.dynamodb.small_table import make_items, make_plan

PLAN = make_plan("level = 'low'", index="by_level")
PART = {"LastEvaluatedKey": make_items(1)[0]}


class Answers:
    """A client and its provider: it plays answers and errors, then ends the range."""

    def __init__(self, steps: Sequence[Any]) -> None:
        self._steps = iter(steps)
        self.asked: list[float] = []

    async def client(self, region: str | None, role_arn: str | None) -> Answers:
        """Return the client."""
        return self

    async def query(self, **request: Any) -> dict[str, Any]:
        """Answer with one item."""
        self.asked.append(asyncio.get_running_loop().time() - 1_000.0)
        step: Any = next(self._steps, {})
        if isinstance(step, Exception):
            raise step
        return {"Items": make_items(1), "Count": 1, "ScannedCount": 1, **step}

    async def read(self, progress: PartialRead | None = None, **options: Any) -> Page:
        """Read a page with these options."""
        backend = Backend(cast("Clients", self), BackendSettings(), jitter=lambda: 1.0)
        reader = DynamoDBReader(backend, 1_000_000)
        return await reader.read_page(make_read(PLAN, progress=progress, **options))


@warped
async def test_a_page_waits_for_capacity() -> None:
    """It is whole, after the pauses of a second and more."""
    answers = Answers([PART, THROTTLED, THROTTLED])
    page = await answers.read()
    assert (page.content.count, page.content.end) == (2, PageEnd.EXHAUSTED)
    assert answers.asked == [0.0, 0.0, 1.0, 3.0]


@warped
async def test_a_page_with_items_does_not_wait_past_its_soft_deadline() -> None:
    """The caller gets the items in time, with a token, and not an error or a late page."""
    answers = Answers([PART, THROTTLED])
    page = await answers.read(soft_deadline=asyncio.get_running_loop().time() + 0.5)
    assert (page.content.count, page.content.end) == (1, PageEnd.TIME_BUDGET)
    assert page.content.next is not None
    assert asyncio.get_running_loop().time() == 1_000.0


@warped
async def test_a_page_without_items_waits_until_its_hard_deadline() -> None:
    """There is nothing to return before."""
    answers = Answers([THROTTLED])
    page = await answers.read(soft_deadline=asyncio.get_running_loop().time() + 0.5)
    assert (page.content.count, page.content.end) == (1, PageEnd.EXHAUSTED)
    assert answers.asked == [0.0, 1.0]


@warped
async def test_items_are_no_excuse_for_a_table_that_keeps_failing() -> None:
    """When time is left and attempts are not, the failure is reported."""
    answers = Answers([PART, *[FAILED] * 3])
    with pytest.raises(BackendUnavailable):
        await answers.read()


@warped
async def test_a_shared_read_waits_as_long_as_its_most_patient_caller() -> None:
    """The failure reaches callers at once when no pause fits in the time that they have."""
    for patience, times in ((0.9, [0.0]), (1.1, [0.0, 1.0])):
        answers = Answers([THROTTLED])
        began = asyncio.get_running_loop().time()
        progress = PartialRead(awaited_until=began + patience)
        if patience < 1.0:
            with pytest.raises(BackendUnavailable, match="throttled"):
                await answers.read(progress)
        else:
            await answers.read(progress)
        assert answers.asked == pytest.approx([began - 1_000.0 + time for time in times])


@warped
async def test_a_throttled_global_index_is_the_resource_of_its_queries() -> None:
    """So its table's breaker counts nothing."""
    reason = "IndexReadProvisionedThroughputExceeded"
    answers = Answers([throttled_by(reason, "table/readings/index/by_level")] * 3)
    with pytest.raises(BackendUnavailable) as raised:
        await answers.read()
    assert (raised.value.resource, raised.value.reasons) == ("by_level", (reason,))
