"""Which attributes a condition requires: what decides whether a sparse index can hide matches."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.query.evaluator import evaluate
from dynamodb_processor_server.query.parser import parse_expression
from dynamodb_processor_server.query.sparse import implied_attributes

IMPLICATIONS = {
    "a = 1": "a",
    "1 < a": "a",
    "a = b": "a b",
    "a <> 1": "",
    "size(a) > 1": "a",
    "size(a) <> 1": "",
    "a.x[0] = 1": "a",
    "a BETWEEN 1 AND 2": "a",
    "1 BETWEEN a AND b": "",
    "a IN (1, b)": "a",
    "1 IN (a, b)": "",
    "attribute_exists(a)": "a",
    "attribute_not_exists(a)": "",
    "attribute_type(a, 'S')": "a",
    "begins_with(a, 'x')": "a",
    "contains(a, b)": "a b",
    "NOT a = 1": "",
    "NOT attribute_not_exists(a)": "",
    "a = 1 AND b = 2 AND c <> 3": "a b",
    "a = 1 AND b = 2 OR b = 3": "b",
    "a = 1 OR b = 1": "",
    "(a = 1 OR a = 2) AND b = 1": "a b",
}


@pytest.mark.parametrize(("text", "names"), IMPLICATIONS.items())
def test_conditions_require_attributes(text: str, names: str) -> None:
    """What is sure is listed; where it is not simple to say, nothing is claimed."""
    assert implied_attributes(parse_expression(text, {})) == frozenset(names.split())


def test_no_condition_requires_nothing() -> None:
    """Every item is asked for, whatever it has."""
    assert implied_attributes(None) == frozenset()


@given(st.sampled_from(sorted(IMPLICATIONS)), st.data())
def test_no_item_without_them_is_a_match(text: str, data: st.DataObject) -> None:
    """Whatever else an item has, lacking an implied attribute it does not meet the condition."""
    condition = parse_expression(text, {})
    values: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
        [{"N": "1"}, {"N": "2"}, {"S": "x"}, {"SS": ["x"]}]
    )
    item = data.draw(st.dictionaries(st.sampled_from("abc"), values))
    for name in implied_attributes(condition):
        lacking = {key: value for key, value in item.items() if key != name}
        assert not evaluate(condition, lacking)
