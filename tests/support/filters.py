"""Random filters and projections over a data set, as Hypothesis strategies.

They pass DynamoDB's static checks: no operand compared with itself, no order on types without one,
bounds of one type and the right way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hypothesis import strategies as st

from tests.support.conditions import (
    MOST_OPERANDS,
    And,
    Between,
    Comparison,
    Condition,
    Constant,
    Function,
    In,
    Not,
    Or,
    Path,
    Size,
    Wire,
)
from tests.support.datasets import BLOBS, KINDS, NUMBERS, WORDS, DataSet
from tests.support.oracle import sort_value

_OPERATORS: Final = ("=", "<>", "<", "<=", ">", ">=")
_TYPES: Final = ("S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M")
_MAP_KEYS: Final = ("a", "or", "k k", "städte")
_SCALARS: Final[dict[str, st.SearchStrategy[Wire]]] = {
    "S": st.sampled_from(WORDS).map(lambda text: {"S": text}),
    "N": st.sampled_from(NUMBERS).map(lambda number: {"N": number}),
    "B": st.sampled_from(BLOBS).map(lambda blob: {"B": blob}),
    "BOOL": st.booleans().map(lambda truth: {"BOOL": truth}),
    "NULL": st.just({"NULL": True}),
}


def filters(data: DataSet, names: tuple[str, ...]) -> st.SearchStrategy[Condition]:
    """Draw a condition about the free attributes `names` mostly, about key attributes at times."""
    leaf = st.one_of(_free_leaf(data, names), _free_leaf(data, names), _key_leaf(data))
    return st.recursive(leaf, _combined, max_leaves=4)


def _combined(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(inner.map(Not), several.map(And), several.map(Or))


@st.composite
def document_paths(draw: st.DrawFn, names: tuple[str, ...]) -> Path:
    """Draw a path: most often a whole attribute, else one or two steps into it."""
    steps = max(0, draw(st.integers(-3, 2)))
    inwards = [draw(st.one_of(st.sampled_from(_MAP_KEYS), st.integers(0, 2))) for _ in range(steps)]
    return Path((draw(st.sampled_from(names)), *inwards))


@st.composite
def _constants(draw: st.DrawFn, data: DataSet, name: str, kinds: tuple[str, ...]) -> Constant:
    """Draw a constant of one of the kinds, where possible one that the attribute really has."""
    known = [value for value in data.values_of(name) if next(iter(value)) in kinds]
    existing = draw(st.booleans())
    if known and existing:
        value = draw(st.sampled_from(known))
    else:
        value = draw(_SCALARS[draw(st.sampled_from([kind for kind in kinds if kind in _SCALARS]))])
    return Constant(value, inline=draw(st.booleans()))


@st.composite
def _free_leaf(draw: st.DrawFn, data: DataSet, names: tuple[str, ...]) -> Condition:
    path = draw(document_paths(names))
    name = path.attribute
    match draw(st.sampled_from(("equal", "order", "between", "in", "function", "size", "paths"))):
        case "equal":
            value = draw(_constants(data, name, _TYPES))
            return Comparison(path, draw(st.sampled_from(("=", "<>"))), value)
        case "order":
            value = draw(_constants(data, name, KINDS))
            operator = draw(st.sampled_from(_OPERATORS))
            if draw(st.integers(0, 4)) == 0:
                return Comparison(value, operator, path)
            return Comparison(path, operator, value)
        case "between":
            return draw(_between(data, path, draw(st.sampled_from(KINDS))))
        case "in":
            options = st.lists(_constants(data, name, _TYPES), min_size=1, max_size=4)
            return In(path, tuple(draw(options)))
        case "size":
            return draw(_size_leaf(path))
        case "paths" if len(names) > 1:
            other = draw(document_paths(tuple(each for each in names if each != name)))
            return Comparison(path, draw(st.sampled_from(_OPERATORS)), other)
    return draw(_function(data, path))


@st.composite
def long_in(draw: st.DrawFn, data: DataSet, names: tuple[str, ...]) -> Condition:
    """Draw an IN, perhaps denied, with more operands than DynamoDB takes in one."""
    path = draw(document_paths(names))
    real = draw(st.lists(_constants(data, path.attribute, _TYPES), min_size=1, max_size=4))
    count = draw(st.integers(MOST_OPERANDS, 2 * MOST_OPERANDS + 1))
    options = [Constant({"N": str(number)}, inline=True) for number in range(7_000, 7_000 + count)]
    for constant in real:
        options.insert(draw(st.integers(0, len(options))), constant)
    condition = In(path, tuple(options))
    return Not(condition) if draw(st.booleans()) else condition


@st.composite
def _between(draw: st.DrawFn, data: DataSet, path: Path, kind: str) -> Condition:
    pair = [draw(_constants(data, path.attribute, (kind,))) for _ in range(2)]
    low, high = sorted(pair, key=lambda constant: sort_value(constant.value))
    return Between(path, low, high)


@st.composite
def _size_leaf(draw: st.DrawFn, path: Path) -> Condition:
    number = Constant({"N": str(draw(st.integers(0, 5)))}, inline=draw(st.booleans()))
    if draw(st.integers(0, 3)) == 0:
        return Between(Size(path), number, Constant({"N": "7"}))
    return Comparison(Size(path), draw(st.sampled_from(_OPERATORS)), number)


@st.composite
def _function(draw: st.DrawFn, data: DataSet, path: Path) -> Condition:
    name = draw(
        st.sampled_from(
            (
                "attribute_exists",
                "attribute_not_exists",
                "attribute_type",
                "begins_with",
                "contains",
            )
        )
    )
    match name:
        case "attribute_type":
            kind = Constant({"S": draw(st.sampled_from(_TYPES))}, inline=draw(st.booleans()))
            return Function(name, path, kind)
        case "begins_with":
            return Function(name, path, draw(_constants(data, path.attribute, ("S", "B"))))
        case "contains":
            return Function(name, path, draw(_constants(data, path.attribute, KINDS)))
    return Function(name, path)


@st.composite
def _key_leaf(draw: st.DrawFn, data: DataSet) -> Condition:
    """Draw a condition on a key attribute, of its own type: another one would be an error."""
    name = draw(st.sampled_from(sorted(data.schema.types)))
    kind = data.schema.types[name]
    path = Path((name,))
    constant = draw(_key_constants(data, name))
    match draw(st.sampled_from(("compare", "between", "in", "exists", "absent", "type", "match"))):
        case "between":
            pair = (constant, draw(_key_constants(data, name)))
            low, high = sorted(pair, key=lambda each: sort_value(each.value))
            return Between(path, low, high)
        case "in":
            options = st.lists(_key_constants(data, name), min_size=1, max_size=4)
            return In(path, tuple(draw(options)))
        case "exists":
            return Function("attribute_exists", path)
        case "absent":
            return Function("attribute_not_exists", path)
        case "type":
            return Function("attribute_type", path, Constant({"S": draw(st.sampled_from(_TYPES))}))
        case "match" if kind == "S":
            part = Constant({"S": constant.value["S"][:2]}, inline=True)
            return Function(draw(st.sampled_from(("contains", "begins_with"))), path, part)
    return Comparison(path, draw(st.sampled_from(_OPERATORS)), constant)


@st.composite
def _key_constants(draw: st.DrawFn, data: DataSet, name: str) -> Constant:
    values = data.values_of(name) or [{"S": "x", "N": "1", "B": b"x"}]
    return Constant(draw(st.sampled_from(values)), inline=draw(st.booleans()))


@st.composite
def projections(
    draw: st.DrawFn, data: DataSet, names: tuple[str, ...], keys: Sequence[str] | None = None
) -> tuple[Path, ...]:
    """Draw document paths of free attributes and of keys, of which none contains another."""
    # DynamoDB refuses paths that lead into a key attribute.
    whole = st.sampled_from(sorted(keys or data.schema.types)).map(lambda name: Path((name,)))
    anything = st.one_of(document_paths(names), document_paths(names), whole) if names else whole
    drawn = draw(st.lists(anything, min_size=1, max_size=5))
    chosen: list[Path] = []
    for path in drawn:
        if not any(_overlap(path, other) for other in chosen):
            chosen.append(path)
    return tuple(chosen)


def _overlap(one: Path, other: Path) -> bool:
    """Return whether DynamoDB refuses two paths together: one leads into the other, or clash.

    A list index and a map key below the same path cannot both lead to a value.
    """
    for a, b in zip(one.parts, other.parts, strict=False):
        if isinstance(a, str) is not isinstance(b, str):
            return True
        if a != b:
            return False
    return True
