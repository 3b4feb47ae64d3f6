"""Random queries of a data set, as Hypothesis strategies, and whether they can be served."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from math import prod
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
    Wire,
    WireItem,
    attributes_of,
)
from tests.support.datasets import FREE_NAMES, DataSet, Index
from tests.support.filters import filters, long_in, projections
from tests.support.oracle import sort_value

PAGE_SIZES: Final = (1, 2, 3, 5, 7, 10, 25, 50, 100)
_SORT_CONDITIONS: Final = ("none", "equal", "bound", "bounds", "between", "prefix", "in")
# How many partition attributes may have several values, lest the partitions be too many to read.
_MOST_LISTED: Final = 2
_MIRRORED: Final = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


class Variant(Enum):
    """The catalog's setting for sparse indexes; the value ends the logical name."""

    STRICT = ""
    ALLOWING = "-allowing"
    VOUCHING = "-vouching"


class Servability(Enum):
    """Whether the design lets the service serve a query."""

    ANSWER = "must be answered"
    REFUSAL = "must be refused"
    EITHER = "may be refused"


@dataclass(frozen=True, slots=True)
class RandomQuery:
    """A query and its paging. `cut` is where it is resumed, as a fraction of its pages."""

    condition: Condition
    index: str
    descending: bool
    projection: tuple[Path, ...]
    strong: bool
    variant: Variant
    page_size: int
    other_page_size: int
    max_items: int | None
    max_scanned_items: int | None
    cut: float
    cached: bool


@st.composite
def random_queries(draw: st.DrawFn, data: DataSet) -> RandomQuery:
    """Draw a query that names every partition attribute of one of the data set's paths."""
    schema = data.schema
    path = schema.index(
        draw(st.sampled_from(["@table", *(index.name for index in schema.indexes)]))
    )
    condition = draw(_conditions(data, path))
    forced = draw(st.integers(0, 9)) < 3
    return RandomQuery(
        condition=condition,
        index=(path.name or "@table") if forced else "",
        descending=draw(st.booleans()),
        projection=draw(_projections(data, path)),
        strong=path.local and draw(st.integers(0, 9)) == 0,
        variant=draw(st.sampled_from(Variant)),
        page_size=draw(st.sampled_from(PAGE_SIZES)),
        other_page_size=draw(st.sampled_from(PAGE_SIZES)),
        max_items=draw(st.one_of(st.none(), st.none(), st.none(), st.integers(1, 40))),
        max_scanned_items=draw(st.one_of(st.none(), st.none(), st.integers(5, 60))),
        cut=draw(st.sampled_from((0.0, 0.3, 0.5, 0.9))),
        cached=draw(st.booleans()),
    )


@st.composite
def _projections(draw: st.DrawFn, data: DataSet, path: Index) -> tuple[Path, ...]:
    """Draw no projection or, for indexes that do not hold everything, often one they hold."""
    if path.projection == "ALL" or draw(st.booleans()):
        return draw(st.one_of(st.just(()), st.just(()), projections(data, FREE_NAMES)))
    held = tuple(name for name in FREE_NAMES if data.schema.projects(path, name))
    return draw(projections(data, held, [*data.schema.keys, *path.keys]))


@st.composite
def _conditions(draw: st.DrawFn, data: DataSet, path: Index) -> Condition:
    schema, held = data.schema, list(data.held_by(path))
    example: WireItem = draw(st.sampled_from(held or list(data.items)))
    parts: list[Condition] = [
        draw(_partition(data, name, example, several=at < _MOST_LISTED))
        for at, name in enumerate(path.partition)
    ]
    parts += draw(_sort_conditions(data, path, example))
    # Many filters use attributes of the index: for others, items are read from the table.
    free = tuple(name for name in FREE_NAMES if schema.projects(path, name))
    within = draw(st.integers(0, 2)) > 0
    names = free if free and within else FREE_NAMES
    parts += draw(st.lists(filters(data, names), max_size=draw(st.sampled_from((0, 1, 1, 2)))))
    if draw(st.integers(0, 7)) == 0:
        parts.append(draw(long_in(data, names)))
    parts = draw(st.permutations(parts))
    if len(parts) > 2 and draw(st.booleans()):
        parts = [parts[0], And(tuple(parts[1:]))]
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _key_value(draw: st.DrawFn, data: DataSet, example: WireItem, name: str) -> Wire:
    """Return a key's value: the example's, or sometimes another one of the attribute."""
    values = data.values_of(name)
    if name in example and draw(st.integers(0, 9)) > 0:
        return example[name]
    return draw(st.sampled_from(values)) if values else {data.schema.types[name]: "1"}


@st.composite
def _partition(
    draw: st.DrawFn, data: DataSet, name: str, example: WireItem, *, several: bool
) -> Condition:
    """Draw a condition that leaves a partition attribute one value or, at times, one of several."""
    value = _key_value(draw, data, example, name)
    if not several or draw(st.integers(0, 2)) > 0:
        return draw(_equality(name, value))
    others = st.sampled_from(data.values_of(name) or [value])
    values = draw(st.permutations([value, *draw(st.lists(others, min_size=1, max_size=3))]))
    if draw(st.booleans()):
        return Or(tuple(draw(_equality(name, each)) for each in values))
    inline = draw(st.booleans())
    return In(Path((name,)), tuple(Constant(_respelled(draw, each), inline) for each in values))


@st.composite
def _equality(draw: st.DrawFn, name: str, value: Wire) -> Condition:
    return draw(_comparison(name, "=", value))


@st.composite
def _comparison(draw: st.DrawFn, name: str, operator: str, value: Wire) -> Condition:
    constant = Constant(_respelled(draw, value), inline=draw(st.booleans()))
    if draw(st.integers(0, 4)) == 0:
        return Comparison(constant, _MIRRORED[operator], Path((name,)))
    return Comparison(Path((name,)), operator, constant)


def _respelled(draw: st.DrawFn, value: Wire) -> Wire:
    """Return the same value; a number sometimes in another spelling."""
    if "N" in value and draw(st.integers(0, 3)) == 0:
        return {"N": f"{Decimal(value['N']):E}"}
    return value


@st.composite
def _sort_conditions(
    draw: st.DrawFn, data: DataSet, path: Index, example: WireItem
) -> list[Condition]:
    """Draw conditions on the sort attributes, left to right, as a key condition could hold them."""
    parts: list[Condition] = []
    for name in path.sort:
        further = ("equal",) * (0 if name == path.sort[-1] else 8)
        kind = draw(st.sampled_from((*_SORT_CONDITIONS, *further)))
        low, high = sorted(
            (_key_value(draw, data, example, name), draw(st.sampled_from(data.values_of(name)))),
            key=sort_value,
        )
        if kind == "equal":
            parts.append(draw(_equality(name, example.get(name, low))))
            continue
        parts += draw(_range(name, kind, low, high))
        break
    return parts


@st.composite
def _range(draw: st.DrawFn, name: str, kind: str, low: Wire, high: Wire) -> list[Condition]:
    match kind:
        case "bound":
            operator = draw(st.sampled_from(("<", "<=", ">", ">=")))
            return [draw(_comparison(name, operator, draw(st.sampled_from((low, high)))))]
        case "bounds":
            if draw(st.integers(0, 9)) == 0:
                low, high = high, low  # An empty range, which must not be an error.
            lower = draw(_comparison(name, draw(st.sampled_from((">", ">="))), low))
            upper = draw(_comparison(name, draw(st.sampled_from(("<", "<="))), high))
            return [lower, upper]
        case "between":
            return [Between(Path((name,)), Constant(low), Constant(high, inline=True))]
        case "in":
            # No key condition can express this for a sort key: the service must check it.
            return [In(Path((name,)), (Constant(low), Constant(high, inline=True)))]
        case "prefix" if "N" not in low:
            ((kind, content),) = low.items()
            return [Function("begins_with", Path((name,)), Constant({kind: content[:1]}))]
    return []


def servability(query: RandomQuery, data: DataSet) -> Servability:
    """Return whether a query can be served, by reasoning of the simplest kind.

    EITHER where that takes more (does this filter imply that the attribute exists?).
    """
    schema = data.schema
    names = [query.index] if query.index else ["", *(index.name for index in schema.indexes)]
    found = [_serves(query, data, schema.index(name)) for name in names]
    if Servability.ANSWER in found:
        return Servability.ANSWER
    return Servability.EITHER if Servability.EITHER in found else Servability.REFUSAL


def partitions_at_most(condition: Condition, data: DataSet) -> int:
    """Return how many partitions a condition may name at most, on whichever path."""
    match condition:
        case And(parts):
            return prod(partitions_at_most(term, data) for term in parts)
        case In(Path((str(name),)), options) if name in data.schema.types:
            return len(options)
        case Or(parts) if bounds(condition):
            return sum(partitions_at_most(term, data) for term in parts)
    return 1


def names_one_item(condition: Condition, data: DataSet) -> bool:
    """Return whether a condition fixes the whole primary key to one value."""
    fixed = {name for name, operator in bounds(condition) if operator == "="}
    return fixed.issuperset(data.schema.keys) and partitions_at_most(condition, data) == 1


def has_long_in(condition: Condition) -> bool:
    """Return whether one of the conjuncts is an IN that exceeds DynamoDB's limit."""
    match condition:
        case And(parts):
            return any(map(has_long_in, parts))
        case Not(term):
            return has_long_in(term)
        case In(_, options):
            return len(options) > MOST_OPERANDS
    return False


def _serves(query: RandomQuery, data: DataSet, path: Index) -> Servability:
    fixed = {name for name, operator in bounds(query.condition) if operator == "="}
    if not fixed.issuperset(path.partition) or (query.strong and not path.local):
        return Servability.REFUSAL
    hiding = _may_hide(query, data, path)
    if hiding - attributes_of(query.condition):
        return Servability.REFUSAL
    # A range of text may match values too long for a key; a local index's keys are checked.
    checked = {name for index in data.schema.indexes if index.local for name in index.keys}
    surely = {
        name
        for name, operator in bounds(query.condition)
        if operator == "=" or data.schema.types.get(name) == "N" or name in checked
    }
    return Servability.ANSWER if hiding <= surely else Servability.EITHER


def holds_all(query: RandomQuery, data: DataSet, path: Index) -> bool:
    """Return whether a path holds every attribute that a query names or projects."""
    wanted = attributes_of(query.condition) | {each.attribute for each in query.projection}
    return path.projection == "ALL" or (
        bool(query.projection) and all(data.schema.projects(path, name) for name in wanted)
    )


def _may_hide(query: RandomQuery, data: DataSet, path: Index) -> set[str]:
    """Return the index keys that an item may lack, where no item may be hidden."""
    if query.index or query.variant is Variant.ALLOWING:
        return set()
    vouched = data.always if query.variant is Variant.VOUCHING else frozenset()
    return set(path.keys) - set(data.schema.keys) - vouched


def bounds(condition: Condition) -> set[tuple[str, str]]:
    """Return the attributes that a conjunct bounds by constants, each with its operator.

    One of several constants is as good as one.
    """
    match condition:
        case And(parts):
            return {found for term in parts for found in bounds(term)}
        case Comparison(Path((str(name),)), operator, Constant()) if operator != "<>":
            return {(name, operator)}
        case Comparison(Constant(), operator, Path((str(name),))) if operator != "<>":
            return {(name, operator)}
        case Between(Path((str(name),)), Constant(), Constant()):
            return {(name, "BETWEEN")}
        case In(Path((str(name),)), options) if all(isinstance(o, Constant) for o in options):
            return {(name, "=")}
        case Or(parts):
            # Several equals on one attribute bound it, too.
            found = set.union(*map(bounds, parts))
            return found if len(found) == 1 and all(map(bounds, parts)) else set()
        case Function("begins_with", Path((str(name),)), Constant()):
            return {(name, "begins_with")}
    return set()
