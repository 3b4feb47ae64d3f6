"""Tests that a trace notes everything that planning finds out about symbolic values."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.query.expression.ast import Comparison, Literal, Path, Size
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.expression.symbolic import (
    DataNotKnown,
    SymbolicValue,
    Trace,
    decide,
    derive,
    with_constants,
)
from dynamodb_processor_server.query.expression.values import Value

A, B = Value("S", "a"), Value("S", "b")


def is_short(value: Value, limit: int) -> bool:
    """Return whether a text has less than `limit` characters."""
    return len(value.data) < limit


def joined(*values: Value) -> Value:
    """Return the texts as one."""
    return Value("S", "#".join(value.data for value in values))


def length(value: Value) -> int:
    """Return the length of a text."""
    return len(value.data)


def is_even(number: int) -> bool:
    """Return whether a number is even."""
    return number % 2 == 0


def checks(trace: Trace) -> list[object]:
    """Return the names of the checks of a trace's guards, with their results."""
    return [(guard.check.__name__, guard.result) for guard in trace.guards()]


def test_values_without_symbols_leave_no_trace() -> None:
    """`decide` and `derive` call the function, and no more."""
    assert decide(is_short, A, 2) is True
    assert derive(joined, A, B) == Value("S", "a#b")
    assert type(derive(joined, A, B)) is Value


def test_the_data_of_a_symbolic_value_is_not_known() -> None:
    """Its type is known, and a plan can depend on its data through guards alone."""
    value = Trace().parameter(A)
    assert value.type == "S"
    with pytest.raises(DataNotKnown):
        _ = value.data
    with pytest.raises(DataNotKnown):
        _ = value.order


def test_each_decision_is_one_guard() -> None:
    """The same check of the same value is noted once."""
    trace = Trace()
    value = trace.parameter(A)
    assert decide(is_short, value, 2)
    assert decide(is_short, value, 2)
    assert not decide(is_short, value, 1)
    assert checks(trace) == [("is_short", True), ("is_short", False)]


def test_decisions_about_constants_are_no_guards() -> None:
    """They are the same for every query, as are values that are derived from constants."""
    trace = Trace()
    constant = trace.constant(A)
    assert decide(is_short, derive(joined, constant, constant), 9)
    assert checks(trace) == []


def test_a_symbol_that_is_no_value_can_be_decided_about() -> None:
    """Planning may compute a number from a value and ask about the number."""
    trace = Trace()
    number = derive(length, trace.parameter(A))
    assert decide(is_even, number) is False
    assert checks(trace) == [("is_even", False)]
    assert trace.derived == (number,)


def test_derived_values_are_symbolic() -> None:
    """They are made once for the same arguments, also where these are in tuples."""
    trace = Trace()
    one, other = trace.parameter(A), trace.parameter(B)
    value = derive(joined, one, other)
    assert isinstance(value, SymbolicValue)
    assert derive(joined, one, other) is value
    assert decide(lambda values: len(values) == 2, (one, other))
    assert value.symbol.concrete == Value("S", "a#b")


def test_equal_values_are_guarded_and_so_are_distinct_ones() -> None:
    """A collection of conditions depends on which of their values are equal."""
    trace = Trace()
    one, same, other = trace.parameter(A), trace.parameter(A), trace.parameter(B)
    trace.parameter(Value("B", b"a"))  # a value of another type is never equal
    assert {one, same, other} == {one, other}
    assert checks(trace) == [("_equal", True), ("_are_distinct", True)]


def test_a_comparison_with_a_plain_value_is_a_guard() -> None:
    """A plain value is not in the trace, so the comparison is noted by itself."""
    trace = Trace()
    value = trace.parameter(A)
    assert value == A
    assert value != B
    assert checks(trace) == [("_equal", True), ("_equal", False)]
    assert value != "a"


def test_literals_become_constants() -> None:
    """Every literal is symbolic then; parameters were before, and stay as they are."""
    trace = Trace()
    value = trace.parameter(A)
    text = "a = :v AND (NOT size('b') = b OR a BETWEEN 'c' AND :v) AND a IN ('d') AND a = 1"
    parsed = parse_expression(text, {"v": value})
    changed = with_constants(parsed, trace)
    assert changed == parsed
    assert repr(changed).count("SymbolicValue(Value(") == repr(changed).count("Value(type=") == 6
    exists = parse_expression("attribute_exists(a)", {})
    assert with_constants(exists, trace) == exists


def test_columns_are_kept() -> None:
    """Errors of later steps name the column of a literal."""
    sized = with_constants(parse_expression("size('b') = b", {}), Trace())
    assert isinstance(sized, Comparison)
    assert isinstance(sized.left, Size)
    assert isinstance(sized.left.path, Literal)
    assert (sized.left.column, sized.left.path.column) == (1, 6)
    assert isinstance(sized.right, Path)
