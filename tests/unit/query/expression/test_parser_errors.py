"""Errors of the expression language: their columns and hints, and limits of size and depth."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from dynamodb_processor_server.query.expression.parser import (
    MAX_BYTES,
    MAX_DEPTH,
    ExpressionError,
    parse_path,
)
from dynamodb_processor_server.query.expression.values import Value
from tests.support.work import counted_work
from tests.unit.query.expression.parsing import parse


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


def test_a_parameter_that_is_not_used_is_an_error() -> None:
    """DynamoDB refuses it too, because it may have been meant as a restriction."""
    one = Value("N", Decimal(1))
    with pytest.raises(ExpressionError, match=r"^:x, :y is given but not used$"):
        parse("a = :z", x=one, y=one, z=one)


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
