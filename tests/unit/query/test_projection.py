"""Projection in the service selects what DynamoDB's would; `tests/contract` compares the two."""

from __future__ import annotations

from typing import Any

import pytest

from dynamodb_processor_server.query.parser import parse_path
from dynamodb_processor_server.query.projection import conflicting, project

ITEM: dict[str, Any] = {
    "a": {"S": "x"},
    "m": {"M": {"k": {"N": "1"}, "e": {"M": {}}, "m": {"M": {"x": {"S": "y"}, "z": {"S": "w"}}}}},
    "l": {"L": [{"S": "0"}, {"M": {"k": {"S": "1"}}}, {"S": "2"}, {"L": [{"N": "3"}]}]},
}


@pytest.mark.parametrize(
    ("paths", "clash"),
    [
        (["a", "b"], None),
        (["a.b", "a.c"], None),
        (["a[0]", "a[1]"], None),
        (["a[0].x", "a[0].y", "b"], None),
        (["a", "a"], "a"),
        (["a", "a.b"], "a.b"),
        (["a.b.c", "b", "a.b"], "a.b"),
        (["a[0]", "a[0]"], "a[0]"),
        (["a.b", "a[0]"], "a[0]"),
        (["a.b.c", "a.b[1].d"], "a.b[1].d"),
        ([], None),
    ],
)
def test_paths_that_overlap_are_found(paths: list[str], clash: str | None) -> None:
    """One within another, one twice, or a place taken for a list and a map: as in DynamoDB."""
    found = conflicting(map(parse_path, paths))
    assert (None if found is None else str(found)) == clash


@pytest.mark.parametrize(
    ("paths", "selected"),
    [
        (["a", "nothing"], {"a": ITEM["a"]}),
        (["m.k"], {"m": {"M": {"k": {"N": "1"}}}}),
        (["m.e"], {"m": {"M": {"e": {"M": {}}}}}),
        (["m.e.x"], {}),
        (["m.m.x", "m.k"], {"m": {"M": {"m": {"M": {"x": {"S": "y"}}}, "k": {"N": "1"}}}}),
        (["l[2]", "l[0]"], {"l": {"L": [{"S": "0"}, {"S": "2"}]}}),
        (["l[1].k", "l[3][0]"], {"l": {"L": [{"M": {"k": {"S": "1"}}}, {"L": [{"N": "3"}]}]}}),
        (["l[9]"], {}),
        (["l[0].k", "a[0]", "a.x", "m[0]", "l.x"], {}),
    ],
)
def test_paths_select_parts_of_an_item(paths: list[str], selected: dict[str, Any]) -> None:
    """List elements close ranks in their order; what leads nowhere leaves nothing behind."""
    assert project(ITEM, map(parse_path, paths)) == selected
