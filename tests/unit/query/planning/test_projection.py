"""Projection in the service agrees with DynamoDB's; `tests/contract` compares the two."""

from __future__ import annotations

from typing import Any

import pytest

from dynamodb_processor_server.catalog.config import TableConfig
from dynamodb_processor_server.query.expression.parser import parse_path
from dynamodb_processor_server.query.planning.plan import ResultProjection
from dynamodb_processor_server.query.planning.projection import (
    apply_projection,
    conflicting,
    project,
)

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
    """Paths overlap if one contains the other, or if they treat a value as list and map."""
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
    """List elements keep their order without gaps; a path that finds nothing adds nothing."""
    assert project(ITEM, map(parse_path, paths)) == selected


@pytest.mark.parametrize(
    ("attributes", "paths", "kept"),
    [
        (None, [], ["a", "l", "m", "user"]),
        (["a", "user", "nothing"], [], ["a", "user"]),
        ([], [], []),
        (["l", "m"], ["l[0]", "m"], ["l", "m"]),
    ],
)
def test_a_result_projection_keeps_parts_of_an_item(
    attributes: list[str] | None, paths: list[str], kept: list[str]
) -> None:
    """It keeps all attributes, some, or parts of these, and converts the rest for callers."""
    item = {**ITEM, "user": {"N": "0"}}
    view = TableConfig.model_validate(
        {"table": "events", "timestamps": {"user": "epoch_seconds"}}
    ).view
    names = None if attributes is None else frozenset(attributes)
    cut = tuple(map(parse_path, paths))
    stored = apply_projection(item, ResultProjection(names, cut))
    assert stored == (project(item, cut) if paths else {name: item[name] for name in kept})
    assert sorted(stored) == kept
    shown = apply_projection(item, ResultProjection(names, cut, view))
    assert shown == view.logical(stored)
    assert shown.get("user") == ({"S": "1970-01-01T00:00:00Z"} if "user" in kept else None)
