"""The model of conditions: frozen data with the meaning of an expression, without its spelling.

A node's column is its place in the text, counted from 1. Columns are for error messages; they take
no part in equality or in fingerprints.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias
from typing import Literal as OneOf

from dynamodb_processor_server.query.expression.values import Value

ComparisonOperator: TypeAlias = OneOf["=", "<>", "<", "<=", ">", ">="]

MIRRORED: dict[ComparisonOperator, ComparisonOperator] = {
    "=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<=",
}  # fmt: skip


def _column() -> int:
    return field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Path:
    """A document path: an attribute's name, then map keys (str) and list indexes (int)."""

    CANONICAL_TAGS: ClassVar = ("path", {"parts": 1})

    parts: tuple[str | int, ...]
    column: int = _column()

    @property
    def attribute(self) -> str:
        """The top-level attribute of the path."""
        return str(self.parts[0])

    def __str__(self) -> str:
        text = _name(self.attribute)
        for part in self.parts[1:]:
            text += f"[{part}]" if isinstance(part, int) else f".{_name(part)}"
        return text


def _name(name: str) -> str:
    plain = name.isascii() and name.isidentifier() and name.upper() not in _KEYWORDS
    return name if plain else '"' + name.replace('"', '""') + '"'


_KEYWORDS = frozenset({"AND", "OR", "NOT", "BETWEEN", "IN", "TRUE", "FALSE", "NULL"})


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant, written in the expression or given as a parameter."""

    CANONICAL_TAGS: ClassVar = ("literal", {"value": 1})

    value: Value
    column: int = _column()


@dataclass(frozen=True, slots=True)
class Size:
    """`size(path)` or `size(value)`: a number, or missing if the value has no size."""

    CANONICAL_TAGS: ClassVar = ("size", {"path": 1})

    path: Path | Literal
    column: int = _column()


Operand: TypeAlias = Path | Literal | Size


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left operator right`."""

    CANONICAL_TAGS: ClassVar = ("comparison", {"operator": 1, "left": 2, "right": 3})

    operator: ComparisonOperator
    left: Operand
    right: Operand
    column: int = _column()


@dataclass(frozen=True, slots=True)
class Between:
    """`operand BETWEEN low AND high`, both ends included."""

    CANONICAL_TAGS: ClassVar = ("between", {"operand": 1, "low": 2, "high": 3})

    operand: Operand
    low: Operand
    high: Operand
    column: int = _column()


@dataclass(frozen=True, slots=True)
class In:
    """`operand IN (options)`."""

    CANONICAL_TAGS: ClassVar = ("in", {"operand": 1, "options": 2})

    operand: Operand
    options: tuple[Operand, ...]
    column: int = _column()


@dataclass(frozen=True, slots=True)
class Function:
    """`attribute_exists`, `attribute_not_exists`, `attribute_type`, `begins_with` or `contains`.

    `argument` is None for the first two. `path` is the first operand: a document path, or for
    `begins_with` and `contains` a value, or for `contains` a size.
    """

    CANONICAL_TAGS: ClassVar = ("function", {"name": 1, "path": 2, "argument": 3})

    name: str
    path: Operand
    argument: Operand | None = None
    column: int = _column()


@dataclass(frozen=True, slots=True)
class NotExpired:
    """The item's time to live, in `attribute`, has not passed.

    Callers cannot write it: it is added if the catalog hides expired items. The service evaluates
    it, for the time at which the item was read.
    """

    CANONICAL_TAGS: ClassVar = ("not_expired", {"attribute": 1})

    attribute: str


@dataclass(frozen=True, slots=True)
class And:
    """A conjunction of two or more terms."""

    CANONICAL_TAGS: ClassVar = ("and", {"terms": 1})

    terms: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """A disjunction of two or more terms."""

    CANONICAL_TAGS: ClassVar = ("or", {"terms": 1})

    terms: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The negation of a term."""

    CANONICAL_TAGS: ClassVar = ("not", {"term": 1})

    term: Condition


Condition: TypeAlias = Comparison | Between | In | Function | NotExpired | And | Or | Not


@dataclass(frozen=True, slots=True)
class Query:
    """A caller's query, parsed from a `QuerySpec`. `condition` None means every item.

    `counts` means that only the number of items matters. It is not part of the `QuerySpec`, and
    takes no part in fingerprints.
    """

    CANONICAL_TAGS: ClassVar = (
        "query",
        {
            "table": 1,
            "condition": 2,
            "index": 3,
            "descending": 4,
            "projection": 5,
            "consistent": 6,
            "max_items": 7,
        },
    )

    table: str
    condition: Condition | None = None
    index: str | None = None
    descending: bool = False
    projection: tuple[Path, ...] = ()
    consistent: bool = False
    max_items: int | None = None
    counts: bool = field(default=False, compare=False)


def without_double_negation(condition: Condition | None) -> Condition | None:
    """Return an equivalent condition in which no NOT has a NOT as its term.

    DynamoDB Local accepts a double NOT; other servers with DynamoDB's interface refuse it.
    """
    return None if condition is None else _simplified(condition)


def _simplified(condition: Condition) -> Condition:
    match condition:
        case Not(Not(term)):
            return _simplified(term)
        case Not(term):
            return Not(_simplified(term))
        case And(terms):
            return And(tuple(map(_simplified, terms)))
        case Or(terms):
            return Or(tuple(map(_simplified, terms)))
    return condition


def conjuncts(condition: Condition | None) -> tuple[Condition, ...]:
    """Return the terms that must all hold; nested ANDs are flattened."""
    if condition is None:
        return ()
    if isinstance(condition, And):
        return tuple(part for term in condition.terms for part in conjuncts(term))
    return (condition,)


def conjunction(terms: tuple[Condition, ...]) -> Condition | None:
    """Return the conjunction of `terms`, None for no terms: the inverse of `conjuncts`."""
    if len(terms) < 2:
        return terms[0] if terms else None
    return And(terms)


def leaves(condition: Condition | None) -> Iterator[Comparison | Between | In | Function]:
    """Yield the comparisons and functions of a condition from left to right."""
    match condition:
        case None | NotExpired():
            return
        case And(terms) | Or(terms):
            for term in terms:
                yield from leaves(term)
        case Not(term):
            yield from leaves(term)
        case _:
            yield condition


def operands(leaf: Comparison | Between | In | Function) -> tuple[Operand, ...]:
    """Return the operands of a leaf from left to right."""
    match leaf:
        case Comparison(_, left, right):
            return (left, right)
        case Between(operand, low, high):
            return (operand, low, high)
        case In(operand, options):
            return (operand, *options)
        case Function(_, path, argument):
            return (path,) if argument is None else (path, argument)


def compared_pairs(
    leaf: Comparison | Between | In | Function,
) -> Iterator[tuple[Path, Literal]]:
    """Yield each pair of a path and a literal that a leaf compares.

    The options of IN and the ends of BETWEEN are compared with the first operand, not with each
    other.
    """
    subject, *others = operands(leaf)
    for other in others:
        match subject, other:
            case (Path() as path, Literal() as literal) | (Literal() as literal, Path() as path):
                yield path, literal


def paths(condition: Condition | None) -> Iterator[Path]:
    """Yield every document path of a condition, including those in `size`."""
    match condition:
        case None:
            return
        case NotExpired(attribute):
            yield Path((attribute,))
        case And(terms) | Or(terms):
            for term in terms:
                yield from paths(term)
        case Not(term):
            yield from paths(term)
        case _:
            for operand in operands(condition):
                if isinstance(operand, Path):
                    yield operand
                elif isinstance(operand, Size) and isinstance(operand.path, Path):
                    yield operand.path
