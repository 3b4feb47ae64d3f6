"""The attributes that a condition implies, which decide whether a sparse index can hide items."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.query.expression.ast import conjuncts
from dynamodb_processor_server.query.expression.evaluator import evaluate
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.implied_attributes import (
    implied_attributes,
    proven_keys,
)
from tests.support.datasets import Index, Schema
from tests.unit.query.tables import make_table

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
    """Only attributes that are certain are listed."""
    assert implied_attributes(parse_expression(text, {})) == frozenset(names.split())


def test_no_condition_requires_nothing() -> None:
    """A query without a condition includes every item."""
    assert implied_attributes(None) == frozenset()


@given(st.sampled_from(sorted(IMPLICATIONS)), st.data())
def test_no_item_without_them_is_a_match(text: str, data: st.DataObject) -> None:
    """An item that lacks an implied attribute does not meet the condition."""
    condition = parse_expression(text, {})
    values: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
        [{"N": "1"}, {"N": "2"}, {"S": "x"}, {"SS": ["x"]}]
    )
    item = data.draw(st.dictionaries(st.sampled_from("abc"), values))
    for name in implied_attributes(condition):
        lacking = {key: value for key, value in item.items() if key != name}
        assert not evaluate(condition, lacking)


GLOBAL: Final = Schema(
    "sparse",
    "id",
    None,
    (Index("by_s", False, ("g",), ("s",)), Index("by_n", False, ("g",), ("n",))),
    {"id": "S", "g": "S", "s": "S", "n": "N"},
)
VALUES: Final = {
    "long": Value("S", "x" * 1025), "fits": Value("S", "x" * 1024), "huge": Value("S", "x" * 2049),
    "bin": Value("B", b"x"), "list": Value("L", ()),
}  # fmt: skip
PROOFS: Final = {
    "g = 'a' AND s = 'x'": "g s",
    "g = 'a' AND s = :fits": "g s",
    "g = :long AND s = :long": "g",
    "g = :huge": "",
    "g = '' AND s = ''": "",
    "g = 1 AND s = :bin": "",
    "g IN ('a', 'b') AND s IN ('x', 'y')": "g s",
    "g IN ('a', '') AND s IN ('x', 1)": "",
    "g = 'a' OR g = 'b'": "g",
    "g = 'a' OR s = 'b'": "",
    "g = s AND s = 'x'": "s",
    "NOT g <> 'a'": "",
    "s > 'a'": "",
    "s BETWEEN 'a' AND 'b'": "",
    "begins_with(s, 'a')": "",
    "begins_with('abc', s)": "",
    "contains(:list, s)": "",
    "attribute_exists(s) AND attribute_type(s, 'S') AND size(s) = 3": "",
    "s.x = 'a'": "",
    "n > 1": "n",
    "1 >= n": "n",
    "n BETWEEN 1 AND 2": "n",
    "1 BETWEEN n AND 5": "n",
    "n IN (1, 2)": "n",
    "n IN (1, 'x')": "",
    "n = size(s)": "n",
    "n > 'x'": "",
    "n <> 1": "",
    "attribute_exists(n)": "",
    "attribute_type(n, 'N')": "n",
    "n > 1 AND (g = 'a' OR g = 'b' AND s = 'x')": "g n",
}


@pytest.mark.parametrize(("text", "names"), PROOFS.items())
def test_conditions_prove_that_values_are_keys(text: str, names: str) -> None:
    """A global index leaves out values that cannot be its keys."""
    used = {name: value for name, value in VALUES.items() if f":{name}" in text}
    terms = conjuncts(parse_expression(text, used))
    table = make_table(GLOBAL)
    found = [proven_keys(path, terms, table) for path in table.schema.paths[1:]]
    assert found[0] | found[1] == frozenset(names.split())


def test_keys_of_the_table_and_of_local_indexes_only_need_to_exist() -> None:
    """DynamoDB has always refused to write other values."""
    table = make_table()
    time, user = (parse_expression(f"{name} > 'a'", {}) for name in ("occurred_at", "user_id"))
    for path in table.schema.paths[1:]:
        assert proven_keys(path, (time, user), table) == {"occurred_at"}
