"""Tests that response bytes repeat no field that is not a repeated one."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Final

import pytest
from google.protobuf.descriptor import Descriptor

from dynamodb_processor.v1.query_service_pb2 import QueryResponse, StreamQueryResponse
from dynamodb_processor_server.dynamodb.item_encoding import encode_item
from dynamodb_processor_server.pager.pager import PageResult
from dynamodb_processor_server.reader import (
    NO_USAGE,
    CacheStatus,
    Page,
    PageContent,
    PageEnd,
    Total,
    Usage,
)
from dynamodb_processor_server.rpc.encode.pages import (
    freshness_field,
    query_response,
    response_head,
    stream_response,
)
from tests.support.wire_format import oddities
from tests.unit.dynamodb.small_table import make_items, make_plan

_USAGE: Final = Usage(7, 1.5, 2, 1, 0.25)
_PLAN: Final = make_plan("level = 'low'")
_TOTALS: Final = (None, Total(0, True), Total(9, False))
_TOKENS: Final = ("", "t" * 100, "t" * 5_000)


def steps() -> list[PageResult]:
    """Return pages of every cache status, size and end, read or not, with a total or without."""
    found = []
    for status, count, end, usage, total in product(
        CacheStatus, (0, 3), PageEnd, (NO_USAGE, _USAGE), _TOTALS
    ):
        items = b"".join(map(encode_item, make_items(count)))
        content = PageContent(items, count, b"behind", end, 1_700_000_000.25)
        page = Page(content, usage, status, 1.5, 20.0)
        found.append(PageResult(page, count + 40, count + 4, usage, last=True, total=total))
    return found


def test_the_bytes_of_every_page_are_strict() -> None:
    """Each combination of a page's fields is parsed byte by byte and has the expected values."""
    for step, token, withheld in product(steps(), _TOKENS, (False, True)):
        shown = replace(_PLAN, hides_cost=withheld).disclosure
        head = response_head(step.page, shown, token) + freshness_field("fresh")
        data = query_response(step.page, shown, head, step.total)
        assert oddities(data, QueryResponse.DESCRIPTOR) == []
        said = QueryResponse.FromString(data)
        parsed = NO_USAGE if withheld else step.page.usage
        assert (said.stats.items_returned, said.stats.items_scanned, said.stats.read_units) == (
            step.page.content.count, parsed.items_scanned, parsed.read_units,
        )  # fmt: skip
        assert (said.stats.backend_calls, said.stats.throttle_retries) == (
            parsed.backend_calls, parsed.retries,
        )  # fmt: skip
        assert said.stats.index_used == "by_level"
        assert (said.next_page_token, said.freshness_token) == (token, "fresh")
        assert said.HasField("total") == (step.total is not None)
        message = stream_response(step, shown, token, 3, "fresh")
        assert oddities(message, StreamQueryResponse.DESCRIPTOR) == []
        assert StreamQueryResponse.FromString(message).freshness_token == "fresh"


def _entry(number: int, content: bytes) -> bytes:
    return bytes((number << 3 | 2, len(content))) + content


_STATS: Final = _entry(4, b"\x08\x01")


@pytest.mark.parametrize(
    ("data", "descriptor", "said"),
    [
        (_STATS, QueryResponse.DESCRIPTOR, []),
        (_STATS * 2, QueryResponse.DESCRIPTOR, ["QueryResponse.stats occurs twice"]),
        (
            _entry(4, b"\x08\x01\x08\x02"), QueryResponse.DESCRIPTOR,
            ["QueryResponse.stats.items_returned occurs twice"],
        ),
        (_entry(1, b"") * 2, QueryResponse.DESCRIPTOR, []),
        (
            _entry(1, _entry(1, _entry(1, b"n") + _entry(2, _entry(1, b"s") + _entry(2, b"1")))),
            QueryResponse.DESCRIPTOR,
            ["QueryResponse.items.attributes.value.n occurs twice"],
        ),
        (_entry(15, b""), QueryResponse.DESCRIPTOR,
         ["QueryResponse has field 15, which the contract does not have"]),
        (_entry(3, b""), QueryResponse.DESCRIPTOR, ["QueryResponse.end has wire type 2"]),
    ],
)  # fmt: skip
def test_repeated_singular_fields_are_found(
    data: bytes, descriptor: Descriptor, said: list[str]
) -> None:
    """The strict parser of the test finds errors that a lenient parser accepts, at any depth."""
    assert oddities(data, descriptor) == said
