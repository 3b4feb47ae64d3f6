"""Pages of whole answers are the same as pages for which each item is looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from dynamodb_processor_server.dynamodb.page_builder import PageBuilder
from dynamodb_processor_server.errors import ItemTooLarge
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import START, Cursor, PageContent, PageRead, ReadAhead, Usage
from tests.support.reads import CALLER, far_options
from tests.unit.dynamodb.answers import AnsweringTable
from tests.unit.dynamodb.small_table import make_items, make_plan

NOW: Final = 1_000.0
# DynamoDB gives items in order and with their keys, so that this condition rejects none.
_EVERY_ITEM: Final = parse_expression("attribute_exists(device)", {})
_PLANS: Final = st.sampled_from([
    make_plan(),
    make_plan(descending=True),
    make_plan(projection=("device", "value")),
    make_plan(projection=("note", "doc.name")),
    make_plan("device = 'd' AND value >= 0"),
    make_plan(time_to_live="gone_at"),
])  # fmt: skip


def read_all(
    plan: Plan, table: AnsweringTable, max_bytes: int, max_item_bytes: int, **options: Any
) -> list[tuple[PageContent, Usage] | str]:
    """Return all pages of one call with their use of DynamoDB; of a refused item its error."""
    pages: list[tuple[PageContent, Usage] | str] = []
    cursor: Cursor | None = START
    read_ahead: ReadAhead | None = None
    while cursor is not None:
        request = PageRead(plan, cursor, far_options(**options), CALLER, None, read_ahead)
        builder = PageBuilder(request, max_bytes, NOW, max_item_bytes)
        try:
            page = builder.finish(table.fill(builder))
        except ItemTooLarge as error:
            pages.append(str(error))
            cursor, read_ahead = error.behind, None
        else:
            pages.append((page.content, page.usage))
            cursor, read_ahead = page.content.next, page.read_ahead
    return pages


@settings(max_examples=200)
@given(
    _PLANS,
    st.lists(st.sampled_from([0, 1, 10, 100, 300, 2_000]), max_size=40),
    st.fixed_dictionaries({
        "page_size": st.integers(1, 12),
        "max_scanned_items": st.none() | st.integers(1, 20),
        "max_read_units": st.none() | st.integers(1, 10).map(float),
        "reads_on": st.booleans(),
    }),
    st.sampled_from([1, 200, 1_000, 100_000]),
    st.sampled_from([150, 500, 100_000]),
)  # fmt: skip
def test_pages_do_not_depend_on_the_way_they_are_filled(
    plan: Plan, sizes: list[int], options: dict[str, Any], max_bytes: int, max_item_bytes: int
) -> None:
    """Items, bounds, errors, cursors, expiry and requests are the same, page for page."""
    notes = [
        {"note": {"S": "x" * size}, "gone_at": {"N": str(1_000 + size)},
         "doc": {"M": {"name": {"N": str(size)}}}}
        for size in sizes
    ]  # fmt: skip
    items = [item | note for item, note in zip(make_items(len(sizes)), notes, strict=True)]
    whole, single = AnsweringTable(items), AnsweringTable(items)
    looked_at = replace(plan, local_filter=_EVERY_ITEM)
    limits = max_bytes, max_item_bytes
    assert read_all(plan, whole, *limits, **options) == read_all(
        looked_at, single, *limits, **options
    )
    assert whole.requests == single.requests
