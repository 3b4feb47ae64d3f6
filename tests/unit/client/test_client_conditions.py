"""Tests that boto3's conditions keep their meaning in the service's language."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import Any

import pytest
from boto3.dynamodb import conditions
from boto3.dynamodb.conditions import Attr, ConditionBase, Key

from dynamodb_processor_client.conditions import render


@pytest.mark.parametrize(
    ("condition", "text", "values"),
    [
        (Key("user_id").eq("u-1"), "user_id = :v0", ["u-1"]),
        (Attr("a").ne(1), "a <> :v0", [1]),
        (Attr("a").lt(1), "a < :v0", [1]),
        (Attr("a").lte(1), "a <= :v0", [1]),
        (Attr("a").gt(1), "a > :v0", [1]),
        (Attr("a").gte(1), "a >= :v0", [1]),
        (Key("a").between(1, 2), "a BETWEEN :v0 AND :v1", [1, 2]),
        (Attr("a").is_in(["x", "y"]), "a IN (:v0, :v1)", ["x", "y"]),
        (Key("a").begins_with("x"), "begins_with(a, :v0)", ["x"]),
        (Attr("a").contains("x"), "contains(a, :v0)", ["x"]),
        (Attr("a").exists(), "attribute_exists(a)", []),
        (Attr("a").not_exists(), "attribute_not_exists(a)", []),
        (Attr("a").attribute_type("S"), "attribute_type(a, :v0)", ["S"]),
        (Attr("a").size().gt(3), "size(a) > :v0", [3]),
        (Attr("a").size().between(1, 2), "size(a) BETWEEN :v0 AND :v1", [1, 2]),
        (Attr("a").size().eq(Attr("b").size()), "size(a) = size(b)", []),
        (Attr("a").eq(Attr("b")), "a = b", []),
        (Key("a").eq(1) & Key("b").lt(2), "a = :v0 AND b < :v1", [1, 2]),
        (Attr("a").eq(1) | Attr("b").eq(2), "a = :v0 OR b = :v1", [1, 2]),
        (~Attr("a").eq(1), "NOT a = :v0", [1]),
        (~~Attr("a").eq(1), "NOT (NOT a = :v0)", [1]),
        (
            Attr("a").eq(1) & (Attr("b").eq(2) | ~(Attr("c").eq(3) & Attr("d").exists())),
            "a = :v0 AND (b = :v1 OR NOT (c = :v2 AND attribute_exists(d)))",
            [1, 2, 3],
        ),
    ],
)
def test_each_operator_is_rendered(condition: Any, text: str, values: list[object]) -> None:
    """Every condition of boto3 becomes a text, with its parameters in the order of use."""
    expression, parameters = render(condition)
    assert expression == text
    assert parameters == {f"v{number}": value for number, value in enumerate(values)}


def test_every_operator_of_boto3_is_known() -> None:
    """The tests cover every condition class of the installed boto3."""
    kinds: list[Any] = [kind for kind in vars(conditions).values() if isinstance(kind, type)]
    operators = {kind.expression_operator for kind in kinds if issubclass(kind, ConditionBase)}
    a = Attr("a")
    shown = [
        a.eq(1), a.ne(1), a.lt(1), a.lte(1), a.gt(1), a.gte(1), a.is_in([1]), a.between(1, 2),
        a.begins_with("x"), a.contains("x"), a.exists(), a.not_exists(), a.attribute_type("S"),
        a.eq(1) & a.eq(2), a.eq(1) | a.eq(2), ~a.eq(1),
    ]  # fmt: skip
    rendered = {condition.expression_operator for condition in shown}
    assert rendered | {"size", ""} == operators  # The abstract bases have "".
    assert all(render(condition)[0] for condition in shown)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("timestamp", "timestamp"),
        ("_a1", "_a1"),
        ("address.lines[0].street", "address.lines[0].street"),
        ("some-name", '"some-name"'),
        ("a b.c[12]", '"a b".c[12]'),
        ("1st", '"1st"'),
        ('say "hi"', '"say ""hi"""'),
        ("Größe", '"Größe"'),
        ("and", '"and"'),
        ("Size", '"Size"'),
        ("true", '"true"'),
        ("a = :v0 OR b", '"a = :v0 OR b"'),
    ],
)
def test_names_are_quoted_where_needed(name: str, text: str) -> None:
    """A name is unquoted if the language reads it as a name; otherwise it is quoted."""
    assert render(Attr(name).exists())[0] == f"attribute_exists({text})"


@pytest.mark.parametrize("name", ["", ".a", "a..b", "a[b]", "a[]", "a[0", "a[0]b", "[0]"])
def test_malformed_paths_are_refused(name: str) -> None:
    """A malformed document path is an error, not a part of the expression."""
    with pytest.raises(ValueError, match="not a document path"):
        render(Attr(name).exists())


def test_long_chains_stay_flat() -> None:
    """A thousand joined conditions have no depth, and do not exhaust the stack."""
    condition = reduce(and_, (Attr("a").ne(number) for number in range(1_000)))
    text, parameters = render(condition)
    assert "(" not in text
    assert text.count(" AND ") == 999
    assert list(parameters.values()) == list(range(1_000))


@pytest.mark.parametrize(
    ("condition", "error"),
    [
        (Attr("a"), TypeError),
        (Attr("a").size(), TypeError),
        (Attr("a").eq(1) & Attr("a").size(), TypeError),
        (Attr("a").eq(Attr("b").exists()), TypeError),
        (Attr("a").is_in("xyz"), TypeError),
        (Attr("a").is_in(3), TypeError),
        (Attr("a").is_in([]), ValueError),
    ],
)
def test_incomplete_conditions_are_refused(condition: Any, error: type[Exception]) -> None:
    """An incomplete condition is refused before anything is sent."""
    with pytest.raises(error):
        render(condition)


def test_unknown_operators_are_refused() -> None:
    """The error names an operator that a later boto3 may have."""

    class Novel:
        def get_expression(self) -> dict[str, object]:
            return {"format": "", "operator": "resembles", "values": (Attr("a"), 1)}

    with pytest.raises(ValueError, match="resembles"):
        render(Novel())
