"""Tests that the event loop does little for a query that takes long to plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from dynamodb_processor.v1.query_pb2 import QuerySpec
from tests.faults.heavy_queries import HEAVY_QUERIES
from tests.support.running import open_service
from tests.support.work import counted_work

pytestmark = pytest.mark.asyncio(loop_scope="module")

_DECODING_AND_PLANNING: Final = (
    "dynamodb_processor_server.query.",
    "dynamodb_processor_server.rpc.decode.",
)
# Functions that they call on the loop: 7. Decoding and planning call 150,000 or more.
_MOST_WORK: Final = 100


@pytest.mark.parametrize("make", HEAVY_QUERIES.values(), ids=HEAVY_QUERIES.keys())
async def test_a_long_query_is_decoded_planned_and_explained_in_a_thread(
    make: Callable[[int], QuerySpec], tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """The work on the event loop does not grow with the query."""
    catalog = {"tables": {"events": {"table": events}}}
    spec = make(1)
    async with open_service(tmp_path, dynamodb_local, catalog) as service:
        await service.explain(make(0))  # describes the table
        with counted_work(_DECODING_AND_PLANNING) as work:
            await service.explain(spec)
    assert work.calls < _MOST_WORK
