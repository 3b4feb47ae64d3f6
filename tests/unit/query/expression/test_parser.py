"""The expression language: the meaning of each spelling, and errors with their columns."""

from __future__ import annotations

import re
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
    MAX_BYTES,
    MAX_DEPTH,
    ExpressionError,
    parse_expression,
    parse_path,
)
from dynamodb_processor_server.query.expression.values import Value
from tests.support.work import counted_work

A, B, C = Path(("a",)), Path(("b",)), Path(("c",))
ONE, TWO = Literal(Value("N", Decimal(1))), Literal(Value("N", Decimal(2)))
X = Literal(Value("S", "x"))
A1, B1, C1 = (Comparison("=", path, ONE) for path in (A, B, C))


def parse(text: str, **parameters: Value) -> Condition:
    """Parse an expression with parameters."""
    return parse_expression(text, parameters)


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


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("a =", 4, "found the end"),
        ("", 1, "found the end"),
        ("a = 1 AND", 10, "found the end"),
        ("a = = 1", 5, "expected a name or a value"),
        ("a # 1", 3, "or a comparison (=, <>, <, <=, >, >=), found"),
        ("a = 1 # b", 7, "found '#'"),
        (f"a = 1 {'b' * 60}", 7, f"found '{'b' * 40}'"),
        ("a = 1 b = 2", 7, "expected AND or OR or the end, found 'b'"),
        ("a = 1)", 6, "found ')'"),
        ("(a = 1", 7, "found the end"),
        ("a.1 = 1", 3, "expected a name"),
        ("a[x] = 1", 3, "expected a list position"),
        ("a = 'x", 5, "found"),
        ("a IN ()", 7, "expected"),
        ("frob(a)", 1, "unknown function 'frob'"),
        ("frob(a) = 1", 1, "'frob' is not an operand"),
        ("size(a)", 1, "compare it with something"),
        ("size(a, b) = 1", 1, "size takes one attribute"),
        ("size(size(a)) = 1", 1, "size takes one attribute or value"),
        ("contains(a)", 1, "contains takes 2 operand(s)"),
        ("b = 1 AND attribute_exists(a, b)", 11, "attribute_exists takes 1 operand(s)"),
        ("attribute_type('x', 'S')", 1, "first operand must be an attribute"),
        ("a = :x", 5, "parameter :x is not given"),
        ("a = 1 AND\nb = :x", 15, "parameter :x is not given"),
        ("a = 1 AND\n  b ! 1", 15, "expected"),
        ("a = 1e999", 5, "magnitude"),
        (f"a = {'9' * 39}", 5, "38 significant digits"),
    ],
)
def test_errors_name_their_column(text: str, column: int, words: str) -> None:
    """An error has the column in the whole text, across lines, and the expected text."""
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert caught.value.column == column
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"column {column}: ")


@pytest.mark.parametrize(
    ("text", "column", "hint"),
    [
        ("a != 1", 3, "write <> for not equal"),
        ("a == 1", 4, "write = for equal"),
        ("a => 1", 4, "write >= or <="),
        ("!a = 1", 1, "write NOT"),
        ("a = 1 && b = 2", 7, "write AND"),
        ("a = 1 || b = 2", 7, "write OR"),
        ("#a = 1", 1, "names need no #: write the name itself"),
        ("a IS NULL", 3, "write attribute_not_exists(a) or attribute_exists(a), or a = null"),
        ("a is not null AND b = 1", 3, "write attribute_not_exists(a)"),
        ("a NOT IN (1, 2)", 3, "write NOT before the whole: NOT a IN (...)"),
        ("a LIKE 'x%'", 3, "write begins_with(a, 'x') or contains(a, 'x')"),
        ("a = \u2018x\u2019", 5, "write texts in single quotes"),
        ("a = 'it's'", 9, ""),
        ("a = 'x", 5, "a text that begins with ' ends with another"),
        ('"a = 1', 1, 'a name that begins with " ends with another'),
        ("user-id = 1", 5, "names with such characters in double quotes"),
        ("a = 2026-01-31", 9, "texts and dates stand in single quotes"),
        ("a = USER#1", 9, "texts and dates stand in single quotes"),
        ("a = 1 ORDER BY b", 7, "the order is no part of the condition"),
        ("a = 1 limit 3", 7, "how many items is no part of the condition"),
        ("a = 1;", 6, "leave out the ;"),
        ("a IN [1, 2]", 6, "write IN (a, b)"),
        ("SELECT * FROM t", 8, "write the condition alone"),
        ("where a = 1", 7, "write the condition alone"),
        ("a = 1 b = 2", 7, ""),
    ],
)
def test_syntax_of_another_language_gets_a_hint(text: str, column: int, hint: str) -> None:
    """Without a hint, the error names the expected text."""
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    message = str(caught.value)
    assert message.startswith(f"column {column}: {'found' if hint else 'expected'} ")
    assert hint in message


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        ("starts_with(a, 'x')", "'starts_with': write begins_with"),
        ("BEGINS_WITH(a, 'x')", "'BEGINS_WITH': write begins_with"),
        ("exists(a)", "'exists': write attribute_exists"),
        ("attribute_exist(a)", "'attribute_exist': write attribute_exists"),
        ("contain(a, 'x')", "'contain': write contains"),
        ("lower(a)", "'lower': there are attribute_exists, attribute_not_exists, attribute_type"),
    ],
)
def test_an_unknown_function_gets_a_hint(function: str, hint: str) -> None:
    """The error names the closest function, or all functions."""
    with pytest.raises(ExpressionError, match=re.escape(f"unknown function {hint}")):
        parse(function)


@pytest.mark.parametrize("path", ["a,b", "a.b, c"])
def test_several_paths_in_one(path: str) -> None:
    """The error for a comma after a path says that one path is expected."""
    with pytest.raises(ExpressionError, match="expected one path and no more, found ','"):
        parse_path(path)


def test_a_parameter_that_is_not_used_is_an_error() -> None:
    """DynamoDB refuses it too, because it may have been meant as a restriction."""
    with pytest.raises(ExpressionError, match=r"^:x, :y is given but not used$"):
        parse("a = :z", x=ONE.value, y=ONE.value, z=ONE.value)


def test_the_size_of_an_expression_is_limited() -> None:
    """8 KiB of UTF-8 are accepted, and one byte more is refused."""
    filler = MAX_BYTES - len("a = ''")
    parse(f"a = '{'é' * (filler // 2)}'")
    with pytest.raises(ExpressionError, match="8192 bytes"):
        parse(f"a = '{'é' * (filler // 2 + 1)}'")
    with pytest.raises(ExpressionError, match="8192 bytes"):
        parse_path("a" * (MAX_BYTES + 1))


@pytest.mark.parametrize(("opener", "closer"), [("(", ")"), ("NOT ", ""), ("NOT (", ")")])
def test_the_depth_of_an_expression_is_limited(opener: str, closer: str) -> None:
    """32 levels of any kind are accepted, and 33 are refused."""
    steps = (MAX_DEPTH - 1) // len(opener.split() or opener)
    parse(opener * steps + "a = 1" + closer * steps)
    with pytest.raises(ExpressionError, match="32 levels"):
        parse(opener * (steps + 1) + "a = 1" + closer * (steps + 1))


@pytest.mark.parametrize("closer", ["", ")" * 3_000])
def test_deep_nesting_does_not_crash(closer: str) -> None:
    """3,000 parentheses are an error and do not exhaust the interpreter's stack."""
    with pytest.raises(ExpressionError):
        parse("(" * 3_000 + "a=1" + closer)


def test_the_depth_of_a_path_is_limited() -> None:
    """DynamoDB accepts documents and paths of 32 levels."""
    assert len(parse_path("a" + ".a" * 31).parts) == 32
    with pytest.raises(ExpressionError, match="32 levels"):
        parse_path("a" + ".a" * 32)


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


def test_the_depth_of_a_path_is_checked_while_parsing() -> None:
    """The levels after the 32nd take no time."""
    with counted_work() as work, pytest.raises(ExpressionError, match="32 levels"):
        parse_path("a" + ".b" * 4_000)
    assert work.calls < 1_000


@pytest.mark.parametrize("text", ["(" * 8_000, "a=1 AND " * 1_000 + "a=1", "a IN(" + "1," * 3_000])
def test_a_too_long_expression_is_refused_before_parsing(text: str) -> None:
    """Counting its tokens takes a fiftieth of the time to parse them."""
    with counted_work() as work, pytest.raises(ExpressionError):
        parse(text)
    assert work.calls < 1_000
