"""The expression language: the meaning of each spelling, and no other error for any text."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.query.expression import parser
from dynamodb_processor_server.query.expression.ast import (
    And,
    Between,
    Comparison,
    Condition,
    Function,
    In,
    Literal,
    Not,
    Or,
    Path,
    Size,
    paths,
)
from dynamodb_processor_server.query.expression.parser import (
    ExpressionError,
    parse_expression,
    parse_path,
)
from dynamodb_processor_server.query.expression.values import Value
from tests.unit.query.expression.parsing import parse

A, B, C = Path(("a",)), Path(("b",)), Path(("c",))
ONE, TWO = Literal(Value("N", Decimal(1))), Literal(Value("N", Decimal(2)))
X = Literal(Value("S", "x"))
A1, B1, C1 = (Comparison("=", path, ONE) for path in (A, B, C))


@pytest.mark.parametrize("operator", ["=", "<>", "<", "<=", ">", ">="])
def test_every_comparison_is_parsed(operator: Any) -> None:
    """The operator is between two operands in either order, with or without spaces."""
    assert parse(f"a {operator} 1") == Comparison(operator, A, ONE)
    assert parse(f"1{operator}a") == Comparison(operator, ONE, A)
    assert parse(f"a {operator} b") == Comparison(operator, A, B)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("a BETWEEN 1 AND 2", Between(A, ONE, TWO)),
        ("a IN (1)", In(A, (ONE,))),
        ("a IN (1, 2, b)", In(A, (ONE, TWO, B))),
        ("attribute_exists(a)", Function("attribute_exists", A)),
        ("attribute_not_exists(a.b)", Function("attribute_not_exists", Path(("a", "b")))),
        ("attribute_type(a, 'S')", Function("attribute_type", A, Literal(Value("S", "S")))),
        ("begins_with(a, 'x')", Function("begins_with", A, X)),
        ("contains(a, b)", Function("contains", A, B)),
        ("size(a) > 1", Comparison(">", Size(A), ONE)),
        ("size(a) BETWEEN 1 AND size(b)", Between(Size(A), ONE, Size(B))),
        ("contains(a, size(b))", Function("contains", A, Size(B))),
    ],
)
def test_every_form_is_parsed(text: str, meaning: Condition) -> None:
    """BETWEEN, IN, each function, and `size` for any operand are parsed."""
    assert parse(text) == meaning


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("a = 1 AND b = 1 OR c = 1", Or((And((A1, B1)), C1))),
        ("a = 1 OR b = 1 AND c = 1", Or((A1, And((B1, C1))))),
        ("(a = 1 OR b = 1) AND c = 1", And((Or((A1, B1)), C1))),
        ("NOT a = 1 AND b = 1", And((Not(A1), B1))),
        ("NOT (a = 1 AND b = 1)", Not(And((A1, B1)))),
        ("NOT NOT a = 1", Not(Not(A1))),
        ("a = 1 AND b = 1 AND c = 1", And((A1, B1, C1))),
        ("((a = 1))", A1),
        ("a BETWEEN 1 AND 2 AND b = 1", And((Between(A, ONE, TWO), B1))),
    ],
)
def test_precedence_is_that_of_dynamodb(text: str, meaning: Condition) -> None:
    """NOT binds closer than AND, AND closer than OR, and parentheses closest."""
    assert parse(text) == meaning


@pytest.mark.parametrize(
    "text",
    [
        "not a between 1 and 2 or a in (1) and b = true",
        "NOT a BETWEEN 1 AND 2 OR a IN (1) AND b = TRUE",
        "Not a Between 1 And 2 Or a In (1) And b = True",
        "NOT\ta\nBETWEEN\r\n1 AND 2 OR a IN(1)AND b=tRuE",
    ],
)
def test_keywords_are_parsed_in_any_case_and_spacing(text: str) -> None:
    """Keywords have no case, as in DynamoDB; names and functions do."""
    truth = Comparison("=", B, Literal(Value("BOOL", True)))
    assert parse(text) == Or((Not(Between(A, ONE, TWO)), And((In(A, (ONE,)), truth))))


def test_names_that_begin_with_keywords_are_names() -> None:
    """`order`, `android`, `nothing`, `inner` and `trueish` are attributes like others."""
    text = "order = 1 AND android = 1 AND nothing = 1 AND inner = 1 AND trueish = 1"
    assert [str(path) for path in paths(parse(text))] == [
        "order", "android", "nothing", "inner", "trueish",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a.b.c", ("a", "b", "c")),
        ("a[0].b[12]", ("a", 0, "b", 12)),
        ('"first name"', ("first name",)),
        ('"quo""ted".x', ('quo"ted', "x")),
        ('"a.b"', ("a.b",)),
        ('"and"', ("and",)),
        ('städte."größe"', None),
        ('"größe"', ("größe",)),
        ("_id", ("_id",)),
    ],
)
def test_paths_lead_into_documents(text: str, parts: tuple[str | int, ...] | None) -> None:
    """Names may be quoted, and must be if they have more than ASCII letters, digits and _."""
    if parts is None:
        with pytest.raises(ExpressionError):
            parse_path(text)
    else:
        assert parse_path(text) == Path(parts)


@given(st.lists(st.text(min_size=1) | st.integers(0, 999_999_999), max_size=8), st.text(min_size=1))
def test_a_formatted_path_parses_to_itself(rest: list[str | int], name: str) -> None:
    """The text of a path is a spelling of that path, even with odd names."""
    path = Path((name, *rest))
    assert parse_path(str(path)) == path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'x'", Value("S", "x")),
        ("''", Value("S", "")),
        ("'o''clock'", Value("S", "o'clock")),
        ("'a \" b\n'", Value("S", 'a " b\n')),
        ("1", Value("N", Decimal(1))),
        ("-1.50", Value("N", Decimal("-1.5"))),
        ("+.5e3", Value("N", Decimal(500))),
        ("5.", Value("N", Decimal(5))),
        ("1E-130", Value("N", Decimal("1E-130"))),
        ("true", Value("BOOL", True)),
        ("False", Value("BOOL", False)),
        ("NULL", Value("NULL", None)),
        (":p", Value("B", b"\x00")),
    ],
)
def test_literals_and_parameters_are_values(text: str, value: Value) -> None:
    """Strings in quotes, numbers, true, false, null, and :parameters of any type are values."""
    parameters = {"p": Value("B", b"\x00")} if text.startswith(":") else {}
    assert parse_expression(f"a = {text}", parameters) == Comparison("=", A, Literal(value))


@pytest.mark.parametrize("path", ["a,b", "a.b, c"])
def test_several_paths_in_one(path: str) -> None:
    """The error for a comma after a path says that one path is expected."""
    with pytest.raises(ExpressionError, match="expected one path and no more, found ','"):
        parse_path(path)


@given(st.text())
def test_arbitrary_text_is_a_condition_or_an_error(text: str) -> None:
    """Arbitrary text raises no error but ExpressionError."""
    _try(text)


_WORDS = [
    "a", "b.c", '"x y"', "a[0]", "'s'", "1", "-2e5", ":p", "true", "NULL", "=", "<>", "<", "(",
    ")", ",", "AND", "or", "NOT", "BETWEEN", "IN", "size(", "contains(", "attribute_type(", ".",
    "[", "\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(_WORDS), max_size=25))
def test_words_in_any_order_are_a_condition_or_an_error(words: list[str]) -> None:
    """A text that is nearly an expression raises no other error either."""
    _try(" ".join(words))


def _try(text: str) -> None:
    columns = []
    try:
        columns += [
            path.column
            for path in paths(parse_expression(text, {"p": X.value} if ":p" in text else {}))
        ]
    except ExpressionError as error:
        columns.append(error.column)
    try:
        columns.append(parse_path(text).column)
    except ExpressionError as error:
        columns.append(error.column)
    assert all(0 <= column <= len(text) + 1 for column in columns)


_LEVELS = st.sampled_from(
    ["a", "b_", "9", "é", ".", "[", "]", "1", "[0]", "[1234567890]", '"', '""', '"x y"', " ", "NOT"]
)


@given(st.lists(_LEVELS, max_size=10).map("".join))
def test_paths_are_parsed_as_in_the_grammar(text: str) -> None:
    """A path alone is parsed without the grammar, with the same result or the same error."""
    outcomes: list[object] = []
    for parse_one in (parse_path, lambda text: parser._parse(text, "path", parser._Builder({}))):
        try:
            path = parse_one(text)
        except ExpressionError as error:
            outcomes.append(str(error))
        else:
            outcomes.append((path, path.column))
    assert outcomes[0] == outcomes[1]
