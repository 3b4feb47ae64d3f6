"""The service evaluates and projects as DynamoDB does: both are asked, and must agree."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamodb_processor_server.query.expression.ast import Condition
from dynamodb_processor_server.query.expression.evaluator import evaluate
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.expression.values import from_wire
from dynamodb_processor_server.query.planning.expression_writer import ExpressionWriter
from dynamodb_processor_server.query.planning.projection import project
from tests.support.conditions import service_path, service_text
from tests.support.datasets import FREE_NAMES, DataSet, make_dataset
from tests.support.dynamodb import load
from tests.support.filters import filters, projections

DATA: Final = make_dataset(7, prefix="evaluation", size=120)


@pytest.fixture(scope="module")
def loaded(dynamodb: Any) -> Any:
    """A client of the DynamoDB that holds the data set."""
    load(dynamodb, DATA)
    return dynamodb


def scan(client: Any, data: DataSet, renderer: ExpressionWriter, **expressions: str) -> list[Any]:
    """Return the items that a scan with these expressions returns."""
    aliases: dict[str, Any] = {
        "ExpressionAttributeNames": renderer.names,
        "ExpressionAttributeValues": renderer.values,
    }
    given_aliases = {name: value for name, value in aliases.items() if value}
    items: list[Any] = client.scan(TableName=data.schema.table, **expressions, **given_aliases)[
        "Items"
    ]
    return items


def key_of(item: Any) -> Any:
    """Return the key that identifies an item."""
    return tuple(from_wire(item[name]) for name in DATA.schema.keys)


def answers(client: Any, condition: Condition) -> tuple[set[Any], set[Any]]:
    """Return the keys of the items that DynamoDB finds, and those that the service finds."""
    renderer = ExpressionWriter()
    found = scan(client, DATA, renderer, FilterExpression=renderer.condition(condition))
    return set(map(key_of, found)), {
        key_of(item) for item in DATA.items if evaluate(condition, item)
    }


@settings(max_examples=100)
@given(filters(DATA, FREE_NAMES))
def test_conditions_hold_for_the_same_items(loaded: Any, condition: Any) -> None:
    """Conditions on all types, sent as text through the parser and formatter, select alike."""
    text, parameters = service_text(condition)
    values = {name: from_wire(wire) for name, wire in parameters.items()}
    theirs, ours = answers(loaded, parse_expression(text, values))
    assert theirs == ours


@pytest.mark.parametrize(
    "text",
    [
        'size(status) = 2 OR size(tags) > 3 OR size("größe") <> 1',
        "contains(status, '') OR begins_with(tags, '')",
        "contains(status, tags) OR begins_with(status, tags)",
        "status BETWEEN tags AND size",
        "'a' BETWEEN status AND tags",
        "1 IN (status, tags, size)",
        "NOT NOT attribute_exists(status)",
        "size(status) BETWEEN 0 AND size(tags)",
        "NOT (status = tags OR NOT (status <> size AND (tags < size OR tags >= size)))",
    ],
)
def test_odd_conditions_hold_for_the_same_items(loaded: Any, text: str) -> None:
    """Operands in unusual places, sizes of any value and negations select alike."""
    theirs, ours = answers(loaded, parse_expression(text, {}))
    assert theirs == ours


@settings(max_examples=50)
@given(st.data())
def test_paths_select_the_same_parts(loaded: Any, data: st.DataObject) -> None:
    """Nested maps, list elements that close ranks, and paths that lead nowhere project alike."""
    paths = [parse_path(service_path(path)) for path in data.draw(projections(DATA, FREE_NAMES))]
    keys = [parse_path(f'"{name}"') for name in DATA.schema.keys]
    paths += [key for key in keys if key not in paths]
    renderer = ExpressionWriter()
    text = ", ".join(map(renderer.path, paths))
    theirs = {
        key_of(item): item for item in scan(loaded, DATA, renderer, ProjectionExpression=text)
    }
    assert theirs.keys() == {key_of(item) for item in DATA.items}
    for item in DATA.items:
        selected, answered = project(item, paths), theirs[key_of(item)]
        assert _values(selected) == _values(answered)


def _values(item: dict[str, Any]) -> dict[str, Any]:
    return {name: from_wire(value) for name, value in item.items()}
