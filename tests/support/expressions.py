"""Random conditions in the server's own model, over the whole language, as Hypothesis strategies.

Unlike `tests.support.filters` they respect nothing but the grammar: operands stand on any side,
types are mixed at will, and some conditions break a static rule. A test decides how to treat those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from hypothesis import strategies as st

from dynamodb_processor_server.query.expression.ast import (
    And,
    Between,
    Comparison,
    Condition,
    Function,
    In,
    Literal,
    Not,
    Operand,
    Or,
    Path,
    Size,
)
from dynamodb_processor_server.query.expression.evaluator import find
from dynamodb_processor_server.query.expression.values import TYPES, Value, WireItem, from_wire

_OPERATORS: Final = ("=", "<>", "<", "<=", ">", ">=")
_UNARY: Final = ("attribute_exists", "attribute_not_exists")
_SIZES: Final = tuple(from_wire({"N": str(number)}) for number in range(6))


def conditions(
    paths: st.SearchStrategy[Path], values: Callable[[Path], st.SearchStrategy[Value]]
) -> st.SearchStrategy[Condition]:
    """Draw conditions about `paths`; `values` draws values to compare with one of them."""
    leaf = _leaves(paths, values)
    return st.recursive(leaf, _combined, max_leaves=5)


def _combined(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(several.map(And), several.map(Or), inner.map(Not))


@st.composite
def _leaves(
    draw: st.DrawFn,
    paths: st.SearchStrategy[Path],
    values: Callable[[Path], st.SearchStrategy[Value]],
) -> Condition:
    path = draw(paths)
    other = _operands(path, paths, values)
    kind = draw(st.sampled_from(("compare", "compare", "between", "in", "function", "size")))
    match kind:
        case "compare":
            pair: list[Operand] = [path, draw(other)]
            left, right = draw(st.permutations(pair))
            return Comparison(draw(st.sampled_from(_OPERATORS)), left, right)
        case "between":
            three: list[Operand] = [path, draw(other), draw(other)]
            operand, low, high = draw(st.permutations(three))
            return Between(operand, low, high)
        case "in":
            options = draw(st.lists(other, min_size=1, max_size=5))
            if draw(st.integers(0, 4)) == 0:
                return In(options[0], (path, *options[1:]))
            return In(path, tuple(options))
        case "size":
            number = Literal(draw(st.sampled_from(_SIZES)))
            end = Literal(draw(st.sampled_from(_SIZES)))
            if draw(st.integers(0, 3)) == 0:
                return Between(Size(path), number, end)
            return Comparison(draw(st.sampled_from(_OPERATORS)), Size(path), number)
    return draw(_functions(path, other))


@st.composite
def _functions(draw: st.DrawFn, path: Path, other: st.SearchStrategy[Operand]) -> Function:
    name = draw(st.sampled_from((*_UNARY, "attribute_type", *("begins_with", "contains") * 2)))
    if name in _UNARY:
        return Function(name, path)
    if name == "attribute_type" and draw(st.integers(0, 9)):
        return Function(name, path, Literal(Value("S", draw(st.sampled_from(sorted(TYPES))))))
    if name != "attribute_type" and draw(st.integers(0, 2)) == 0:
        return Function(name, draw(other), path)
    return Function(name, path, draw(other))


@st.composite
def _operands(
    draw: st.DrawFn,
    path: Path,
    paths: st.SearchStrategy[Path],
    values: Callable[[Path], st.SearchStrategy[Value]],
) -> Operand:
    """Draw a value most often, else another path or a size."""
    match draw(st.integers(0, 9)):
        case 0:
            return draw(paths)
        case 1:
            return Size(draw(paths))
        case 2:
            return Size(Literal(draw(values(path))))
    return Literal(draw(values(path)))


def values_near(items: Sequence[WireItem], others: Sequence[Value]) -> Callable[[Path], Any]:
    """Return a strategy of values for comparison with a path: the items' own, or similar ones.

    Similar values are a part of an item's value, a member of it, the attribute's value in another
    item or, sometimes, one of `others`.
    """

    @st.composite
    def similar(draw: st.DrawFn, path: Path) -> Value:
        there = _there(items, path)
        if not there or draw(st.integers(0, 3)) == 0:
            return draw(st.sampled_from(others))
        value = draw(st.sampled_from(there))
        parts = _parts(value)
        inside = draw(st.booleans())
        return draw(st.sampled_from(parts)) if parts and inside else value

    return similar


def _there(items: Sequence[WireItem], path: Path) -> list[Value]:
    found = (find(path, item) for item in items)
    return list(dict.fromkeys(from_wire(wire) for wire in found if wire is not None))


def _parts(value: Value) -> list[Value]:
    """Return the parts of a value that `begins_with` or `contains` may find."""
    match value.type:
        case "S" | "B":
            return [Value(value.type, value.data[:1]), Value(value.type, value.data[1:])]
        case "SS" | "NS" | "BS":
            return [Value(value.type[0], member) for member in sorted(value.data)]
        case "L":
            return list(value.data)
        case "M":
            return [member for _, member in value.data]
    return []
