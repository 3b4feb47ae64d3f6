"""Expressions for DynamoDB: aliases, shared values, and few parentheses."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.query.expression.ast import (
    And,
    Comparison,
    Condition,
    Literal,
    Not,
    Or,
    Path,
)
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.expression_writer import ExpressionWriter


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("a = 1", "#0 = :0"),
        ("a <> b", "#0 <> #1"),
        ("a BETWEEN 1 AND 2", "#0 BETWEEN :0 AND :1"),
        ("a IN (1, 2)", "#0 IN (:0, :1)"),
        ("attribute_exists(a)", "attribute_exists(#0)"),
        ("begins_with(a, 'x')", "begins_with(#0, :0)"),
        ("contains(a, 1)", "contains(#0, :0)"),
        ("size(a.b[0].c) > 1", "size(#0.#1[0].#2) > :0"),
        ("((a = 1))", "#0 = :0"),
        ("(a = 1 AND b = 2) AND c = 3", "#0 = :0 AND #1 = :1 AND #2 = :2"),
        ("(a = 1 AND b = 2) OR c = 3", "#0 = :0 AND #1 = :1 OR #2 = :2"),
        ("(a = 1 OR b = 2) OR c = 3", "#0 = :0 OR #1 = :1 OR #2 = :2"),
        ("((a = 1 OR b = 2)) AND c = 3", "(#0 = :0 OR #1 = :1) AND #2 = :2"),
        ("NOT (a = 1)", "NOT #0 = :0"),
        ("NOT (a = 1 AND b = 2)", "NOT (#0 = :0 AND #1 = :1)"),
        ("NOT (NOT (a = 1 OR b = 2))", "NOT NOT (#0 = :0 OR #1 = :1)"),
    ],
)
def test_conditions_have_the_fewest_parentheses(text: str, rendered: str) -> None:
    """DynamoDB refuses doubled parentheses, and precedence makes others superfluous."""
    assert ExpressionWriter().condition(parse_expression(text, {})) == rendered


@pytest.mark.parametrize(
    ("options", "sizes"), [(1, [1]), (100, [100]), (101, [100, 1]), (350, [100, 100, 100, 50])]
)
def test_an_in_has_no_more_operands_than_dynamodb_takes(options: int, sizes: list[int]) -> None:
    """More than one hundred options become several INs joined by OR."""
    condition = parse_expression(f"a.b IN ({', '.join(map(str, range(options)))})", {})
    writer = ExpressionWriter()
    text = writer.condition(condition)
    chunks = re.findall(r"#0\.#1 IN \(([^()]*)\)", text)
    assert [len(chunk.split(", ")) for chunk in chunks] == sizes
    joined = " OR ".join(f"#0.#1 IN ({chunk})" for chunk in chunks)
    assert text == (joined if len(sizes) == 1 else f"({joined})")
    assert [wire["N"] for wire in writer.values.values()] == list(map(str, range(options)))


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("{} AND b = 'x'", "({}) AND #1 = :101"),
        ("NOT {}", "NOT ({})"),
        ("b = 'x' OR {}", "#0 = :0 OR ({})"),
    ],
)
def test_a_long_in_is_one_term_wherever_it_stands(text: str, rendered: str) -> None:
    """Its parts get parentheses once, because DynamoDB refuses doubled ones."""
    long = f"a IN ({', '.join(map(str, range(101)))})"
    name, first = ("#1", 1) if text.startswith("b") else ("#0", 0)
    aliases = [f":{first + number}" for number in range(101)]
    parts = f"{name} IN ({', '.join(aliases[:100])}) OR {name} IN ({aliases[100]})"
    assert ExpressionWriter().condition(parse_expression(text.format(long), {})) == rendered.format(
        parts
    )


def test_a_long_in_shares_values_like_any_other() -> None:
    """A repeated operand keeps its alias."""
    options = ", ".join(["1", "2"] * 60)
    writer = ExpressionWriter()
    text = writer.condition(parse_expression(f"a IN ({options}) AND b = 2", {}))
    assert writer.values == {":0": {"N": "1"}, ":1": {"N": "2"}}
    assert text.endswith(" AND #1 = :1")


def test_names_and_values_are_shared_by_one_request() -> None:
    """Equal names and equal values have one alias in all expressions of the request."""
    writer = ExpressionWriter()
    writer.condition(parse_expression("timestamp = 1 AND a.timestamp = '1'", {}))
    writer.condition(parse_expression("timestamp < 1.0 OR b = '1'", {}))
    assert writer.path(parse_path('b."a"[3]')) == "#2.#1[3]"
    assert writer.names == {"#0": "timestamp", "#1": "a", "#2": "b"}
    assert writer.values == {":0": {"N": "1"}, ":1": {"S": "1"}}


def test_true_and_one_are_different_values() -> None:
    """They are equal in Python, but their types keep them apart."""
    writer = ExpressionWriter()
    writer.condition(parse_expression("a = true AND b = 1 AND c = null AND d = false", {}))
    assert list(writer.values.values()) == [
        {"BOOL": True}, {"N": "1"}, {"NULL": True}, {"BOOL": False},
    ]  # fmt: skip


_leaf = st.integers(0, 3).map(
    lambda n: Comparison("=", Path((f"a{n}",)), Literal(Value("S", str(n))))
)
_conditions: st.SearchStrategy[Condition] = st.recursive(
    _leaf,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: And(tuple(terms))),
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: Or(tuple(terms))),
    ),
    max_leaves=8,
)


def _flat(condition: Condition) -> Condition:
    """Return a condition with nested ANDs in ANDs and ORs in ORs flattened."""
    if isinstance(condition, Not):
        return Not(_flat(condition.term))
    if not isinstance(condition, And | Or):
        return condition
    kind = type(condition)
    terms: list[Condition] = []
    for term in map(_flat, condition.terms):
        terms.extend(term.terms if isinstance(term, kind) else [term])
    return kind(tuple(terms))


@given(_conditions)
def test_the_text_means_the_condition(condition: Condition) -> None:
    """A written condition parses to the same condition once its aliases are replaced."""
    writer = ExpressionWriter()
    text = writer.condition(condition)
    assert not re.search(r"\(\([^()]*\)\)|^\([^()]*\)$", text), "superfluous parentheses"
    values = {alias[1:]: Value("S", wire["S"]) for alias, wire in writer.values.items()}
    plain = re.sub(r"#\d+", lambda match: writer.names[match[0]], text)
    assert parse_expression(plain, values) == _flat(condition)
