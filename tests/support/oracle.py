"""The brute-force oracle: the right answer to a query, found by checking every item.

It reads plain Python dictionaries, knows nothing of the server, and prefers the obvious to the
quick. The rules are DynamoDB's: a comparison of different types is false, `<>` is the opposite of
`=` even for missing attributes, and sizes of values without a size are missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any, Final

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
    Wire,
    WireItem,
)

_ORDERED: Final = ("S", "N", "B")


def canonical(value: Wire) -> Any:
    """Return something hashable that is equal for equal values: `1` and `1.0` are one number."""
    ((kind, data),) = value.items()
    match kind:
        case "N":
            return kind, Decimal(data)
        case "SS" | "BS":
            return kind, frozenset(data)
        case "NS":
            return kind, frozenset(Decimal(number) for number in data)
        case "L":
            return kind, tuple(canonical(element) for element in data)
        case "M":
            return kind, canonical_item(data)
    return kind, data


def canonical_item(item: WireItem) -> Any:
    """Return something hashable that is equal for equal items."""
    return frozenset((name, canonical(value)) for name, value in item.items())


def sort_value(value: Wire) -> Any:
    """Return the order of a key value: UTF-8 bytes, the number, or unsigned bytes."""
    ((kind, data),) = value.items()
    if kind == "S":
        return data.encode()
    return Decimal(data) if kind == "N" else bytes(data)


def holds(condition: Condition, item: WireItem) -> bool:
    """Return whether an item satisfies a condition."""
    match condition:
        case And(parts):
            return all(holds(term, item) for term in parts)
        case Or(parts):
            return any(holds(term, item) for term in parts)
        case Not(term):
            return not holds(term, item)
        case Comparison(left, operator, right):
            return _compare(_value(left, item), operator, _value(right, item))
        case Between(operand, low, high):
            middle = _value(operand, item)
            return _compare(_value(low, item), "<=", middle) and _compare(
                middle, "<=", _value(high, item)
            )
        case In(operand, options):
            wanted = _value(operand, item)
            return any(_compare(wanted, "=", _value(option, item)) for option in options)
        case Function(name, path, argument):
            given = None if argument is None else _value(argument, item)
            return _FUNCTIONS[name](_at(path, item), given)


def _value(operand: Operand, item: WireItem) -> Wire | None:
    match operand:
        case Path():
            return _at(operand, item)
        case Constant(value):
            return value
        case Size(path):
            return _size(_at(path, item))


def _at(path: Path, item: WireItem) -> Wire | None:
    value: Wire | None = {"M": item}
    for part in path.parts:
        if value is None:
            return None
        if isinstance(part, int):
            elements = value.get("L", [])
            value = elements[part] if part < len(elements) else None
        else:
            value = value.get("M", {}).get(part)
    return value


def _size(value: Wire | None) -> Wire | None:
    if value is None:
        return None
    ((kind, data),) = value.items()
    if kind in ("N", "BOOL", "NULL"):
        return None
    # DynamoDB Local counts a string in UTF-16 units; the documentation only says "length".
    length = len(data.encode("utf-16-le")) // 2 if kind == "S" else len(data)
    return {"N": str(length)}


def _compare(left: Wire | None, operator: str, right: Wire | None) -> bool:
    if operator == "<>":
        return not _compare(left, "=", right)
    if left is None or right is None or left.keys() != right.keys():
        return False
    if operator == "=":
        return bool(canonical(left) == canonical(right))
    if next(iter(left)) not in _ORDERED:
        return False
    a, b = sort_value(left), sort_value(right)
    return bool({"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator])


def _begins_with(value: Wire | None, prefix: Wire | None) -> bool:
    if value is None or prefix is None or value.keys() != prefix.keys():
        return False
    ((kind, data),) = value.items()
    return kind in ("S", "B") and bool(data.startswith(prefix[kind]))


def _contains(value: Wire | None, wanted: Wire | None) -> bool:
    if value is None or wanted is None:
        return False
    ((kind, data),) = value.items()
    ((wanted_kind, wanted_data),) = wanted.items()
    if kind in ("S", "B"):
        return wanted_kind == kind and wanted_data in data
    if kind in ("SS", "NS", "BS"):
        members = [{kind[0]: member} for member in data]
    else:
        members = data if kind == "L" else []
    return any(_compare(member, "=", wanted) for member in members)


_FUNCTIONS: Final[dict[str, Callable[[Wire | None, Wire | None], bool]]] = {
    "attribute_exists": lambda value, _: value is not None,
    "attribute_not_exists": lambda value, _: value is None,
    "attribute_type": lambda value, kind: (
        value is not None and kind is not None and kind["S"] in value
    ),
    "begins_with": _begins_with,
    "contains": _contains,
}


def projected(item: WireItem, paths: Sequence[Path]) -> WireItem:
    """Return an item under a projection; the elements of lists close ranks, as in DynamoDB."""
    if not paths:
        return item
    tree: dict[str | int, Any] = {}
    for path in paths:
        if _at(path, item) is not None:
            branch = tree
            for part in path.parts:
                branch = branch.setdefault(part, {})
    return _pruned({"M": item}, tree)["M"] if tree else {}


def _pruned(value: Wire, tree: dict[str | int, Any]) -> Wire:
    if not tree:
        return value
    if "L" in value:
        return {"L": [_pruned(value["L"][at], tree[at]) for at in sorted(tree)]}
    return {"M": {name: _pruned(value["M"][name], tree[name]) for name in tree}}


@dataclass(frozen=True, slots=True)
class Expected:
    """The right answer: groups of items that tie on the sort key, in the order of the groups."""

    groups: tuple[tuple[WireItem, ...], ...]

    @property
    def total(self) -> int:
        """The number of items."""
        return sum(len(group) for group in self.groups)

    def mismatch(self, answer: Sequence[WireItem], at_most: int | None = None) -> str | None:
        """Return the error in an answer, or None. With `at_most`, a prefix is expected."""
        wanted = self.total if at_most is None else min(self.total, at_most)
        if len(answer) != wanted:
            return f"{len(answer)} items instead of {wanted}"
        start = 0
        for group in self.groups:
            here = Counter(map(canonical_item, answer[start : start + len(group)]))
            # Within ties any order is right, so a prefix may hold any of the last group's items.
            if not here <= Counter(map(canonical_item, group)):
                return f"wrong items among those at {start} to {start + len(group) - 1}"
            start += len(group)
        return None


def expected(
    items: Iterable[WireItem],
    condition: Condition | None,
    sort_keys: Sequence[str],
    *,
    descending: bool = False,
    projection: Sequence[Path] = (),
) -> Expected:
    """Return the right answer to a query that is read in the order of `sort_keys`."""

    def order(item: WireItem) -> tuple[Any, ...]:
        # An item without the key cannot be in the answer: it makes the comparison fail, as it must.
        return tuple(
            (name in item, sort_value(item[name]) if name in item else 0) for name in sort_keys
        )

    found = [item for item in items if condition is None or holds(condition, item)]
    found.sort(key=order, reverse=descending)
    groups = (tuple(group) for _, group in groupby(found, key=order))
    return Expected(tuple(tuple(projected(item, projection) for item in group) for group in groups))
