"""Random queries of single-table designs, in logical attributes only.

They are those of any table, on fields, with times spelled in every way that RFC 3339 has and more
finely than they are stored; some are invalid on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Final

from hypothesis import strategies as st

from tests.support.composed import ComposedData, fields_of
from tests.support.conditions import (
    And,
    Between,
    Comparison,
    Condition,
    Constant,
    Function,
    In,
    Not,
    Operand,
    Or,
    Path,
    Size,
    WireItem,
    attributes_of,
)
from tests.support.datasets import FREE_NAMES, Index
from tests.support.filters import filters
from tests.support.random_queries import (
    RandomQuery,
    Servability,
    Variant,
    bounds,
    random_queries,
)
from tests.support.times import FORMS, SECOND, spelled

_OPERATORS: Final = ("=", "<>", "<", "<=", ">", ">=")
# Of twenty queries, those that bound a field of a sort key exactly at an item.
_EDGES: Final = range(10, 17)
_OFFSETS: Final = (None, None, 0, 60, -330, 345, 14 * 60, -1)


@dataclass(frozen=True, slots=True)
class ComposedQuery(RandomQuery):
    """A query on logical attributes.

    `truth` is its condition as the oracle evaluates it, over instants. `invalid` says that no field
    or time can meet its condition, `loose` that it fixes no partition.
    """

    truth: Condition
    invalid: bool
    loose: bool


@st.composite
def composed_queries(draw: st.DrawFn, data: ComposedData) -> ComposedQuery:
    """Draw a query of a single-table design."""
    query = draw(random_queries(data))
    # From the middle of the range, since its ends are drawn more often than others.
    kind = draw(st.integers(0, 19))
    loose, at_edge = kind == 9, kind in _EDGES
    if at_edge:
        condition, index = draw(_edges(data))
        query = replace(query, index=index, strong=False)
        parts = [condition]
    else:
        parts = [draw(filters(data, FREE_NAMES) if loose else _some_conjuncts(query.condition))]
        parts += draw(st.lists(_time_filters(data), max_size=draw(st.sampled_from((0, 0, 1, 2)))))
    service, truth = draw(_retimed(data, And(tuple(parts)) if len(parts) > 1 else parts[0]))
    invalid = draw(st.integers(0, 14)) == 7
    if invalid:
        service = And((service, draw(_impossible(data))))
    said = {each.name: getattr(query, each.name) for each in fields(query)}
    times = draw(st.lists(st.sampled_from(("occurred_at", "seen")), max_size=2, unique=True))
    if query.projection:
        said["projection"] = (
            *(path for path in query.projection if path.attribute not in times),
            *(Path((name,)) for name in times),
        )
    said["condition"] = service
    return ComposedQuery(**said, truth=truth, invalid=invalid, loose=loose)


@st.composite
def _edges(draw: st.DrawFn, data: ComposedData) -> tuple[Condition, str]:
    """Draw a condition that fixes a partition and bounds one sort key field, and an index.

    The bound is an item's own value or one that it is the beginning of. A range of composed keys
    that has an item too many or too few would fail on such an item.
    """
    paths = [
        (path, list(_whole_items(data, path)))
        for path in (data.schema.index(""), *data.schema.indexes)
    ]
    path, items = draw(st.sampled_from([(path, items) for path, items in paths if items]))
    item = draw(st.sampled_from(items))
    *fixed, bounded = path.sort[: draw(st.integers(1, len(path.sort)))]
    parts: list[Condition] = [
        Comparison(Path((name,)), "=", Constant(item[name])) for name in (*path.partition, *fixed)
    ]
    value = item[bounded]
    if "S" in value and bounded not in data.forms:
        value = {"S": value["S"] + draw(st.sampled_from(("", "!", "~")))}
    operator = draw(st.sampled_from(("<", "<", "<=", ">", ">=")))
    parts.append(Comparison(Path((bounded,)), operator, Constant(value)))
    return And(tuple(parts)), draw(st.sampled_from(("", path.name or "@table")))


def _whole_items(data: ComposedData, path: Index) -> Iterator[WireItem]:
    """Yield the items that an index holds and that have every field of its keys."""
    if path.sort:
        yield from (item for item in data.held_by(path) if all(n in item for n in path.keys))


@st.composite
def _some_conjuncts(draw: st.DrawFn, condition: Condition) -> Condition:
    """Draw conjuncts: all, those on keys, or mostly those that bound keys.

    Filters often match no item, and ranges of keys are the subject of these queries.
    """
    parts = condition.parts if isinstance(condition, And) else (condition,)
    flat = [t for term in parts for t in (term.parts if isinstance(term, And) else (term,))]
    match draw(st.sampled_from(("all", "keys", "bounds", "bounds"))):
        case "keys":
            flat = [term for term in flat if not attributes_of(term) <= set(FREE_NAMES)]
        case "bounds":
            flat = [term for term in flat if {name for name, _ in bounds(term)} - set(FREE_NAMES)]
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def servability(query: ComposedQuery, data: ComposedData) -> Servability:
    """Return whether a query can be served; EITHER where that takes more reasoning."""
    if query.invalid:
        return Servability.REFUSAL
    fixed = {name for name, operator in bounds(query.condition) if operator == "="}
    named = [query.index] if query.index else ["", *(i.name for i in data.stored.indexes)]
    paths = [data.stored.index(name) for name in named]
    serving = [
        path for path in paths if _fixes(fixed, path, data) and (path.local or not query.strong)
    ]
    if not serving:
        return Servability.REFUSAL
    if query.loose:
        return Servability.EITHER
    if query.index or query.variant is Variant.ALLOWING:
        return Servability.ANSWER
    vouched = data.always if query.variant is Variant.VOUCHING else frozenset()
    sure = vouched.union(data.stored.keys)
    return (
        Servability.ANSWER if any(sure.issuperset(p.keys) for p in serving) else Servability.EITHER
    )


def _fixes(fixed: set[str], path: Index, data: ComposedData) -> bool:
    """Return whether every partition key is fixed, itself or by all of its fields."""
    return all(
        name in fixed
        or (name in data.templates and fixed.issuperset(fields_of(data.templates[name])))
        for name in path.partition
    )


@st.composite
def _time_filters(draw: st.DrawFn, data: ComposedData) -> Condition:
    """Draw a condition about a time, perhaps denied or beside another one."""
    leaf: Condition = draw(_time_leaf(data))
    match draw(st.sampled_from(("alone", "alone", "not", "or", "and"))):
        case "not":
            return Not(leaf)
        case "or":
            return Or((leaf, draw(filters(data, FREE_NAMES))))
        case "and":
            return Not(And((leaf, draw(_time_leaf(data)))))
    return leaf


@st.composite
def _time_leaf(draw: st.DrawFn, data: ComposedData) -> Condition:
    name = draw(st.sampled_from(("occurred_at", "seen")))
    known = [value["S"] for value in data.values_of(name) if value.get("S") in data.instants]
    path, texts = Path((name,)), st.sampled_from(known or list(data.instants))
    values = st.builds(lambda text, inline: Constant({"S": text}, inline), texts, st.booleans())
    match draw(
        st.sampled_from(("compare", "compare", "mirrored", "between", "in", "is", "begins"))
    ):
        case "mirrored":
            return Comparison(draw(values), draw(st.sampled_from(_OPERATORS)), path)
        case "between":
            return Between(path, draw(values), draw(values))
        case "in":
            return In(path, tuple(draw(st.lists(values, min_size=1, max_size=4))))
        case "is":
            return Function(
                draw(st.sampled_from(("attribute_exists", "attribute_not_exists"))), path
            )
        case "begins" if FORMS[data.forms[name]][1]:
            prefix = draw(texts)[: draw(st.sampled_from((4, 7, 10, 13, 19)))]
            return Function("begins_with", path, Constant({"S": prefix}))
    return Comparison(path, draw(st.sampled_from(_OPERATORS)), draw(values))


@st.composite
def _retimed(
    draw: st.DrawFn, data: ComposedData, condition: Condition
) -> tuple[Condition, Condition]:
    """Return a condition with its times spelled anew, and the same one over instants."""
    match condition:
        case And(parts) | Or(parts):
            pairs = [draw(_retimed(data, term)) for term in parts]
            make = type(condition)
            return make(tuple(one for one, _ in pairs)), make(tuple(other for _, other in pairs))
        case Not(term):
            one, other = draw(_retimed(data, term))
            return Not(one), Not(other)
        case Comparison(left, operator, right) if _is_about_time(data, left, right):
            (a, ia), (b, ib) = (draw(_respelled(data, each)) for each in (left, right))
            return Comparison(a, operator, b), Comparison(ia, operator, ib)
        case Between(operand, low, high) if _is_about_time(data, operand):
            ends = [draw(_respelled(data, each)) for each in (operand, low, high)]
            return Between(*(one for one, _ in ends)), Between(*(other for _, other in ends))
        case In(operand, options) if _is_about_time(data, operand):
            subject, instant = draw(_respelled(data, operand))
            found = [draw(_respelled(data, option)) for option in options]
            listed = tuple(one for one, _ in found), tuple(other for _, other in found)
            return In(subject, listed[0]), In(instant, listed[1])
    return condition, condition


def _is_about_time(data: ComposedData, *operands: Operand) -> bool:
    return any(isinstance(each, Path) and each.attribute in data.forms for each in operands)


@st.composite
def _respelled(draw: st.DrawFn, data: ComposedData, operand: Operand) -> tuple[Operand, Operand]:
    """Return a time in the service's spelling, and as an instant or an item's instant."""
    if isinstance(operand, Path):
        return operand, Path((f"\0{operand.attribute}",))
    if isinstance(operand, Size):
        raise AssertionError("sizes of times are no conditions")
    instant = data.instants[operand.value["S"]]
    # Sometimes between two times that can be stored.
    instant += draw(st.sampled_from((0, 0, 0, 1, -1, SECOND // 2, SECOND // 1000)))
    fewest = next(digits for digits in range(10) if instant % 10 ** (9 - digits) == 0)
    text = spelled(instant, draw(st.integers(fewest, 9)), draw(st.sampled_from(_OFFSETS)))
    if draw(st.integers(0, 4)) == 0:
        text = text.lower()
    if instant % (86_400 * SECOND) == 0 and draw(st.integers(0, 2)) == 0:
        text = spelled(instant, 0)[:10]
    return replace(operand, value={"S": text}), Constant({"N": str(instant)})


@st.composite
def _impossible(draw: st.DrawFn, data: ComposedData) -> Condition:
    """Draw a condition on a value that a field or a time can never be."""
    held = {name for text in data.templates.values() for name in fields_of(text)} - {"occurred_at"}
    name = draw(st.sampled_from(sorted(held)))
    path = Path((name,))
    wrong: list[Condition] = [
        Comparison(path, "=", Constant({"S": ""})),
        Comparison(path, "<", Constant({"N": "5"})),
        Comparison(Path(("seen",)), "<", Constant({"S": "yesterday"})),
        In(Path(("seen",)), (Constant({"S": "2026-02-30T00:00:00Z"}),)),
        Comparison(Size(Path(("seen",))), ">", Constant({"N": "1"})),
        Function("contains", Path(("seen",)), Constant({"S": "2026"})),
        Function("attribute_exists", Path((name, "member"))),
    ]
    wrong += [
        In(Path((each,)), (Constant({"S": f"x{separator}y"}), Constant({"S": "z"})))
        for each, separators in sorted(data.separators.items())
        for separator in sorted(separators)
    ]
    if "code" in held:
        wrong.append(Comparison(Constant({"S": "ABC"}), "=", Path(("code",))))
    if not data.exposing:
        wrong.append(Comparison(Path(("PK",)), "=", Constant({"S": "USER#u1"})))
    term = draw(st.sampled_from(wrong))
    return draw(st.sampled_from((term, Not(term), Or((term, Function("attribute_exists", path))))))
