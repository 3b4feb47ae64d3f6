"""An interrupted stream resumes after its last message: no item is lost or repeated."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from dynamodb_processor.v1.query_pb2 import Budget, CacheMode, PageEnd
from dynamodb_processor.v1.query_service_pb2 import StreamQueryRequest, StreamQueryResponse
from tests.support.channels import Caller
from tests.support.complete_reads import by_pages, by_stream
from tests.support.events import LONG, LONG_ITEMS, sequence
from tests.support.messages import from_item, spec

PAGE_SIZE: Final = 100
MESSAGES: Final = LONG_ITEMS // PAGE_SIZE
# A few cuts at a time keep two processors busy.
AT_ONCE: Final = asyncio.Semaphore(4)
QUERY: Final = spec("events", "user_id = :u", {"u": {"S": LONG}})
BACKWARDS: Final = spec("events", "user_id = :u", {"u": {"S": LONG}}, descending=True)
RARE: Final = spec("events", "user_id = :u AND action = 'none'", {"u": {"S": LONG}})


async def _cut_and_resume(caller: Caller, after: int) -> list[int]:
    async with AT_ONCE:
        begun = await by_stream(caller, QUERY, PAGE_SIZE, stop_after=after)
        if not begun.tokens[-1]:
            return sequence(begun.items)
        rest = await by_stream(caller, QUERY, PAGE_SIZE, token=begun.tokens[-1])
        return sequence(begun.items + rest.items)


async def test_cut_at_every_message(caller: Caller, show_line: Callable[[str], None]) -> None:
    """Cut after each message in turn and resumed, a stream delivers every item exactly once."""
    cuts = range(1, MESSAGES + 1)
    answers = await asyncio.gather(*(_cut_and_resume(caller, after) for after in cuts))
    wanted = list(range(LONG_ITEMS))
    lost = sum(len(set(wanted) - set(answer)) for answer in answers)
    twice = sum(sum(count - 1 for count in Counter(answer).values()) for answer in answers)
    show_line(
        f"stream of {LONG_ITEMS} items cut at {len(answers)} boundaries and resumed: "
        f"{lost} lost, {twice} duplicated"
    )
    assert all(answer == wanted for answer in answers)


async def test_uncached_stream_is_whole(caller: Caller) -> None:
    """Read from DynamoDB alone, a stream has the same items and its messages are full."""
    whole = await by_stream(caller, BACKWARDS, PAGE_SIZE, mode=CacheMode.CACHE_MODE_BYPASS)
    assert sequence(whole.items) == list(reversed(range(LONG_ITEMS)))
    assert set(whole.sizes) <= {0, PAGE_SIZE}


async def test_pages_go_on_after_an_interrupted_stream(caller: Caller) -> None:
    """A stream's token serves `Query` with another page size, and a page's token a stream."""
    begun = await by_stream(caller, QUERY, PAGE_SIZE, stop_after=47)
    pages = await by_pages(caller, QUERY, 37, token=begun.tokens[-1])
    stream = await by_stream(caller, QUERY, 250, token=pages.tokens[0])
    assert sequence(begun.items + pages.items) == list(range(LONG_ITEMS))
    assert sequence(begun.items + pages.items[:37] + stream.items) == list(range(LONG_ITEMS))


async def test_budgeted_stream_ends_with_a_token(caller: Caller) -> None:
    """A stream ended by its budget is OK, has a last message, and goes on with its token."""
    request = StreamQueryRequest(query=RARE, budget=Budget(max_scanned_items=1_200))
    messages = [message async for message in caller.stream(request)]
    assert messages[-1].last
    assert messages[-1].end == PageEnd.PAGE_END_SCAN_BUDGET
    assert messages[-1].cumulative.items_scanned == 1_200
    rest = await by_stream(caller, RARE, 100, token=messages[-1].resume_token)
    assert rest.items == []
    assert rest.scanned == LONG_ITEMS - 1_200


async def test_max_items_counts_across_a_cut(caller: Caller) -> None:
    """The token carries the number of items that the stream may still return."""
    query = spec("events", "user_id = :u", {"u": {"S": LONG}}, max_items=230)
    begun = await by_stream(caller, query, 100, stop_after=1)
    rest = await by_stream(caller, query, 100, token=begun.tokens[-1])
    assert sequence(begun.items + rest.items) == list(range(230))


async def test_only_the_final_message_is_last(caller: Caller) -> None:
    """`last` is true on exactly one message, and it alone has no token."""
    request = StreamQueryRequest(query=QUERY, page_size=1_000)
    messages: list[StreamQueryResponse] = [message async for message in caller.stream(request)]
    assert [message.last for message in messages] == [False] * (len(messages) - 1) + [True]
    assert [not message.resume_token for message in messages] == [m.last for m in messages]
    assert sum(len(message.items) for message in messages) == LONG_ITEMS
    assert from_item(messages[0].items[0])["seq"] == {"N": "0"}
