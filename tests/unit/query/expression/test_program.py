"""Tests that programs make objects anew with other values."""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from dynamodb_processor_server.query.expression import canonical
from dynamodb_processor_server.query.expression.ast import Comparison, Literal, Path
from dynamodb_processor_server.query.expression.program import (
    ProgramBuilder,
    calls_of,
    run,
)
from dynamodb_processor_server.query.expression.symbolic import Trace, derive
from dynamodb_processor_server.query.expression.values import Value, to_wire

PARTS = frozenset({Comparison, Literal})
A = Path(("a",))


def remade(data: Any, trace: Trace, inputs: list[Any], values: list[Value]) -> Any:
    """Return data with other values in place of its symbolic inputs."""
    builder = ProgramBuilder(inputs, PARTS)
    result = builder.step(lambda made: made, (data,))
    constants, calls = calls_of([*builder.steps, result])
    registers = [*constants, *values]
    run(calls[:-1], registers)
    return calls[-1].result(registers)


def test_symbols_are_replaced_in_every_kind_of_collection() -> None:
    """Values and everything derived from them are made of the other values."""
    trace = Trace()
    value = trace.parameter(Value("S", "a"))
    made = remade(
        MappingProxyType(
            {
                "terms": (Comparison("=", A, Literal(value, 7)), frozenset({value})),
                "wire": {":p": derive(to_wire, value)},
                "constant": trace.constant(Value("N", Decimal(1))),
            }
        ),
        trace,
        [value],
        [Value("S", "b")],
    )
    other = Value("S", "b")
    assert made == {
        "terms": (Comparison("=", A, Literal(other)), frozenset({other})),
        "wire": {":p": {"S": "b"}},
        "constant": Value("N", Decimal(1)),
    }
    assert isinstance(made, MappingProxyType)
    assert made["terms"][0].right.column == 7


def test_objects_without_symbols_stay_the_same_objects() -> None:
    """They are shared by everything that the program makes."""
    trace = Trace()
    value = trace.parameter(Value("S", "a"))
    constant = (Comparison("=", A, Literal(Value("S", "x"))), {"a": [1]})
    made = remade((value, constant), trace, [value], [Value("S", "b")])
    assert made[1] is constant


def test_an_object_in_two_places_is_made_once() -> None:
    """Two places of the original that share an object share one in the copy."""
    trace = Trace()
    value = trace.parameter(Value("S", "a"))
    shared = Literal(value)
    one, other = remade((shared, [shared][0]), trace, [value], [Value("S", "b")])
    assert one is other


def _pairs(kind: str, data: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Value, Value]]:
    """Draw two values of one type."""
    values = data.map(lambda one: Value(kind, one))
    return st.tuples(values, values)


_PAIRS = st.one_of(
    _pairs("S", st.text()),
    _pairs("B", st.binary()),
    _pairs("N", st.integers(-(10**9), 10**9).map(Decimal)),
    _pairs("SS", st.frozensets(st.text(), min_size=1)),
    _pairs("L", st.lists(st.text().map(lambda text: Value("S", text))).map(tuple)),
)


@given(_PAIRS, _PAIRS)
def test_a_digest_is_the_canonical_one(
    first: tuple[Value, Value], second: tuple[Value, Value]
) -> None:
    """It is a compatibility contract, for any value in any place."""
    # Which values are equal is a guard of each plan.
    assume((first[0] == second[0]) == (first[1] == second[1]))
    trace = Trace()
    inputs = [trace.parameter(first[0]), trace.parameter(second[0])]
    values = [first[1], second[1]]

    def data(one: Any, other: Any) -> object:
        return (
            ("scope", None, 7, True, b"x", frozenset({"a", "b"})),
            Comparison("<", Path(("a", 1)), Literal(one)),
            {"b": derive(to_wire, other), "a": derive(to_wire, one), "c": [other, "constant"]},
            one,
        )

    symbolic = data(*inputs)
    assert remade(trace.digest(symbolic), trace, inputs, values) == canonical.digest(data(*values))
