"""Row rules with variables, and the grants that they are bound to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from dynamodb_processor_server.auth.grant_template import GrantTemplate
from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.rule_template import (
    RuleTemplate,
    Subject,
    UnboundVariable,
    claim_at,
)
from dynamodb_processor_server.query.expression.ast import Condition
from dynamodb_processor_server.query.expression.parser import ExpressionError, parse_expression
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.row_rule import RowRule


def bound(text: str, principal: str = "p", **claims: Any) -> Condition:
    """Return the condition of a rule for a caller."""
    template = RuleTemplate(text)
    return template.bind(template.values(Subject(principal, claims))).condition


def refusal(text: str, **claims: Any) -> str:
    """Return the reason why a rule has no condition for a caller."""
    with pytest.raises(UnboundVariable) as caught:
        bound(text, **claims)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "claims", "written"),
    [
        ("t = ${claims.tenant}", {"tenant": "acme"}, "t = 'acme'"),
        ("t = ${ claims.tenant }", {"tenant": "acme"}, "t = 'acme'"),
        ("t = ${principal}", {}, "t = 'p'"),
        ("n >= ${claims.n}", {"n": 7}, "n >= 7"),
        ("n = ${claims.n}", {"n": Decimal("1.0")}, "n = 1"),
        ("n = ${claims.n}", {"n": Decimal("-2.5e-3")}, "n = -0.0025"),
        ("t IN (${claims.ts})", {"ts": ["a", "b", "a"]}, "t IN ('a', 'b')"),
        ("t IN (${claims.ts}, 'c')", {"ts": "a"}, "t IN ('a', 'c')"),
        ("n IN (${claims.ns})", {"ns": [1, Decimal("2.0"), Decimal(1)]}, "n IN (1, 2)"),
        ("t = ${claims.a.b[1]}", {"a": {"b": ["x", "y"]}}, "t = 'y'"),
        (
            't = ${claims."https://acme.example/{tenant}"}',
            {"https://acme.example/{tenant}": "acme"},
            "t = 'acme'",
        ),
        ("t = ${claims.t} AND u = ${claims.t}", {"t": "x"}, "t = 'x' AND u = 'x'"),
        (
            "t = ${claims.t} AND (u = ${principal} OR NOT n BETWEEN 1 AND ${claims.n})",
            {"t": "x", "n": 3},
            "t = 'x' AND (u = 'p' OR NOT n BETWEEN 1 AND 3)",
        ),
        ("begins_with(t, ${claims.t})", {"t": "x"}, "begins_with(t, 'x')"),
        ("t = ${claims.t}", {"t": "' OR t <> '"}, "t = ''' OR t <> '''"),
        ("t = ${claims.t}", {"t": "${principal}"}, "t = :t"),
        ("t = 'it''s' AND u = ${principal}", {}, "t = 'it''s' AND u = 'p'"),
    ],
)
def test_values_become_constants(text: str, claims: dict[str, Any], written: str) -> None:
    """A bound rule is the one that was written with the values, which are never parsed."""
    parameters = {"t": Value("S", "${principal}")} if ":t" in written else {}
    assert bound(text, **claims) == parse_expression(written, parameters)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "${claims.t} is missing"),
        ([], "${claims.t} is a list without 1 to 100 members"),
        (["a"] * 101, "${claims.t} is a list without 1 to 100 members"),
        *(
            (value, "${claims.t} is not a text with characters, a number, or a list of these")
            for value in (
                "", True, {}, {"a": "b"}, [["a"]], [None], "\ud800", ["a", ""], ["a", False],
                Decimal("1e300"), Decimal("1e-200"), Decimal("0." + "1" * 39), 10**200, 10**40 + 1,
            )
        ),
        (["a", "b"], "${claims.t} does not fit the rule by its type"),
    ],
)  # fmt: skip
def test_a_claim_without_a_usable_value_is_refused(value: Any, reason: str) -> None:
    """The reason names the variable, and never its value."""
    assert refusal("t = ${claims.t}", t=value) == reason


def test_an_absent_claim_is_missing() -> None:
    """So is one on a path that leads through no object or list."""
    assert refusal("t = ${claims.t}") == "${claims.t} is missing"
    assert refusal("t = ${claims.a.b}", a="text") == "${claims.a.b} is missing"
    assert refusal("t = ${claims.a[2]}", a=["x"]) == "${claims.a[2]} is missing"
    assert claim_at({"a": [{"b": 1}]}, ("a", 0, "b")) == 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("t = '${claims.t}'", "column 5: write variables without quotes"),
        ("t = ${claims}", "column 5: a variable is ${principal} or ${claims.NAME}"),
        ("t = ${claim.t}", "column 5: a variable is ${principal} or ${claims.NAME}"),
        ("t = ${}", "column 5: a variable is ${principal} or ${claims.NAME}"),
        ("t = ${claims.t", "column 5: expected a name or a value, found '$'"),
        ("${claims.t} = 'x'", "column 13: compares values only, no attribute"),
        ("t = ${claims.tenant} AND", "column 25: expected"),
        ("size(${claims.n}) = size(${claims.n})", "column 19: compares values only"),
        (" AND ".join(f"t = ${{claims.c{n}}}" for n in range(7)), "a rule has at most 6 variables"),
    ],
)
def test_a_rule_that_no_value_makes_valid_is_refused(text: str, error: str) -> None:
    """The error names the column of the rule's own text."""
    with pytest.raises(ExpressionError) as caught:
        RuleTemplate(text)
    assert str(caught.value).startswith(error)


def test_a_rule_may_need_values_of_several_types() -> None:
    """Some combination of text and number must be valid."""
    text = "begins_with(t, ${claims.t}) AND n BETWEEN 1 AND ${claims.n}"
    assert RuleTemplate(text).variables
    assert bound(text, t="x", n=2) == parse_expression(
        "begins_with(t, 'x') AND n BETWEEN 1 AND 2", {}
    )
    assert "does not fit" in refusal(text, t=2, n=2)


def test_numbers_are_exact() -> None:
    """A whole number of 38 digits is not rounded on its way."""
    number = int("1234567890" * 3 + "12345678")
    condition = bound("n = ${claims.n}", n=number)
    assert condition == parse_expression(f"n = {Decimal(number)}", {})
    fraction = Decimal("12345678901234567890.123456789012345678")
    assert bound("n = ${claims.n}", n=fraction) == parse_expression(f"n = {fraction}", {})


def test_texts_are_equal_only_if_their_characters_are() -> None:
    """Neither spelling of a letter, width nor case makes two tenants one, nor a number a text."""
    alike = ("\u00e9", "e\u0301", "E", "e", "\uff45", " e", "e ", "\u0435", "7", 7)
    conditions = [bound("t = ${claims.t}", t=value) for value in alike]
    assert len(set(conditions)) == len(alike)
    versions = {Grant("t", None, RowRule(condition)).version for condition in conditions}
    assert len(versions) == len(alike)


def test_a_long_row_of_quotes_is_refused_at_once() -> None:
    """The time to read a rule grows with its length, and not exponentially with its quotes."""
    for quotes in ('"' * 201, "'" * 201, '"' * 200):
        with pytest.raises(ExpressionError):
            RuleTemplate(f"t = ${{claims.{quotes}")


def test_equal_values_share_one_grant() -> None:
    """So the callers share plans and cached pages; those of other values share neither."""
    template = GrantTemplate("t", None, RuleTemplate("t = ${claims.t}"))
    acme = template.bind(Subject("a", {"t": "acme"}))
    again = template.bind(Subject("b", {"t": "acme"}))
    other = template.bind(Subject("a", {"t": "other"}))
    written = GrantTemplate("t", None, RuleTemplate("t = 'acme'")).bind(Subject("x"))
    assert acme is again
    assert acme.bound
    assert not written.bound
    assert acme == written
    assert acme.version == written.version
    assert other.version not in (acme.version, template.sample.version)


def test_a_grant_without_variables_is_the_same_for_all() -> None:
    """It needs no values."""
    template = GrantTemplate("t", frozenset({"a"}), None)
    assert template.bind(Subject("a")) is template.bind(Subject("b"))
    assert template.bind(Subject("a")) == Grant("t", frozenset({"a"}))
