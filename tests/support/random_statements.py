"""Random statements: a query's text with parameters, and several sets of values for these.

They are made for the decisions that values can change: equal and reversed bounds, empty
intersections, values that no key can have, times between two storable ones, sizes, and texts that
key templates refuse. The pools are small, so that values are often equal. A statement may be
invalid, for some of its values or for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, Final, TypeAlias

from dynamodb_processor_server.query.expression.formatter import ExpressionFormatter
from dynamodb_processor_server.query.expression.values import Value

_OPERATORS: Final = ("=", "=", "<", "<=", ">", ">=", "<>")
_INLINE_TYPES: Final = frozenset({"S", "N", "BOOL", "NULL"})
#: Attributes of keys and others, each with the types that are compared with it most.
ATTRIBUTES: Final[Mapping[str, str]] = {
    "user": "S", "at": "T", "system": "S", "level": "N", "kind": "S", "region": "S", "code": "4",
    "raw": "B", "note": "S", "tags": "C", "seen": "T", "PK": "S", "SK": "S",
}  # fmt: skip
_TEXTS: Final = ("a", "b", "ab", "a!", "abc", "ü", "b1", "a b", "AB12", "ZZ99")
# Empty, with a separator of a key template, and around the limits of keys and truncated fields.
_ODD_TEXTS: Final = (
    "", "#", "a#b", "|", "k" * 1_024, "k" * 1_025, "ü" * 512, "k" * 2_048, "k" * 2_049, "USER#a",
    "T#", "\U0010ffff", "ABCDE", "0", "1", "S", "N",
)  # fmt: skip
_TIMES: Final = (
    "2026-01-01T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.5Z",
    "2026-01-01T00:00:00.0001Z", "2026-01-01T01:00:00+01:00", "2026-02-01T08:30:00Z",
    "2025-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59Z", "2026-01-01t00:00:00z",
)  # fmt: skip
_ODD_TIMES: Final = ("yesterday", "2026-02-30", "")
# The last ones have no floating-point number, or are the ends of DynamoDB's range.
_NUMBERS: Final = (
    *("0", "1", "2", "10", "-1", "0.5", "1E+2", "100", "99", "1E-7", "1.0") * 2,
    "9007199254740992", "9007199254740993", "1." + 36 * "0" + "1", "1E-130",
    "9." + 37 * "9" + "E+125",
)  # fmt: skip
_BYTES: Final = (b"a", b"b", b"\x00", b"", b"k" * 1_025)

Names: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """An expression, the options of its query, and sets of values for its parameters.

    The values of a parameter have one type in all sets.
    """

    text: str
    options: Mapping[str, Any]
    bindings: tuple[Mapping[str, Value], ...]


def random_statement(
    random: Random, paths: Mapping[str, tuple[Names, Names]], bindings: int
) -> Statement:
    """Return a statement with so many sets of values.

    `paths` has the attributes or fields of each path's key by the path's label: those of the
    partition key, and those of the sort key.
    """
    writer = _Writer(random)
    partition, sort = random.choice(list(paths.values()))
    fixed = (*partition, *sort) if random.random() < 0.2 else partition
    if random.random() < 0.05:
        fixed = ()
    conjuncts = [writer.equality(name) for name in fixed]
    conjuncts += [
        writer.term() for _ in range(random.choice((0, 1, 1, 2, 2, 3, 5) if conjuncts else (1, 2)))
    ]
    random.shuffle(conjuncts)
    text = " AND ".join(conjuncts)
    options: dict[str, Any] = {}
    if random.random() < 0.2:
        options["index"] = random.choice(list(paths))
    if random.random() < 0.2:
        options["descending"] = True
    if random.random() < 0.1:
        options["consistent"] = True
    if random.random() < 0.15:
        options["counts"] = True
    if random.random() < 0.2:
        options["max_items"] = random.choice((1, 7))
    if random.random() < 0.3:
        options["projection"] = random.choice((("note",), ("user", "note"), ("tags.a", "at")))
    sets = [writer.values()]
    for _ in range(bindings - 1):
        # Often but for one value, since decisions depend on few.
        few = random.random() < 0.5
        changed = writer.values()
        kept = sets[random.randrange(len(sets))]
        one = random.choice(list(changed)) if changed else ""
        sets.append({**kept, **{n: v for n, v in changed.items() if not few or n == one}})
    return Statement(text, options, tuple(sets))


@dataclass
class _Writer:
    """Writes expressions; `_parameters` has the type of each parameter so far."""

    random: Random
    _parameters: dict[str, tuple[str, str]] = field(default_factory=dict)

    def values(self) -> dict[str, Value]:
        """Return random values for the parameters."""
        return {
            name: _value(self.random, kind, tag) for name, (kind, tag) in self._parameters.items()
        }

    def equality(self, name: str) -> str:
        """Return a condition that leaves an attribute one value or a few."""
        random = self.random
        match random.randrange(8):
            case 0 | 1:
                count = random.choice((1, 2, 3, 5)) if random.random() < 0.95 else 60
                return f"{name} IN ({', '.join(self._operand(name) for _ in range(count))})"
            case 2:
                return f"({name} = {self._operand(name)} OR {self._operand(name)} = {name})"
            case 3:
                return f"{name} = {self._operand(name)} AND {name} IN ({self._operand(name)})"
        return f"{name} = {self._operand(name)}"

    def term(self, depth: int = 0) -> str:
        """Return a condition."""
        random = self.random
        if depth < 2 and random.random() < 0.12:
            if random.random() < 0.5:
                return f"NOT ({self.term(depth + 1)})"
            conjuncts = [self.term(depth + 1) for _ in range(random.choice((2, 2, 3)))]
            return f"({' OR '.join(conjuncts)})"
        name = random.choice(("at", "level", "kind", "note", "tags", *ATTRIBUTES))
        return self._leaf(name) if ATTRIBUTES[name] in "SNT4" else self._unordered(name)

    def _leaf(self, name: str) -> str:
        """Return a condition on an attribute whose values have an order."""
        random = self.random
        is_text = ATTRIBUTES[name] != "N"
        match random.randrange(12):
            case 0 | 1 | 2:
                sign = random.choice(_OPERATORS)
                value = self._operand(name)
                if random.random() < 0.15:
                    return f"{value} {sign} {name}"
                return f"{name} {sign} {value}"
            case 3 | 4 | 5:
                return f"{name} BETWEEN {self._operand(name)} AND {self._operand(name)}"
            case 6 | 7:
                return f"{name} >= {self._operand(name)} AND {name} < {self._operand(name)}"
            case 8 if is_text:
                return f"begins_with({name}, {self._operand(name)})"
            case 9:
                return f"{self._operand(name)} BETWEEN {name} AND note"
            case 10:
                return self._unordered(name)
        return self.equality(name)

    def _unordered(self, name: str) -> str:
        random = self.random
        match random.randrange(10):
            case 0 | 1:
                return f"{name} {random.choice(('=', '<>'))} {self._operand(name)}"
            case 2:
                return f"contains({name}, {self._operand(name)})"
            case 3:
                return f"size({name}) > {self._operand('level')}"
            case 4:
                return f"size({self._operand('note')}) = level"
            case 5:
                return f"attribute_type({name}, {self._parameter('A', 'S')})"
            case 6:
                return f"{self._operand(name)} IN ({name}, {self._operand(name)})"
            case 7:
                return f"{name} = region"
            case 8:
                return f"attribute_exists({name})"
        return self.equality(name)

    def _operand(self, name: str) -> str:
        """Return a parameter or a literal to compare with an attribute."""
        random = self.random
        kind = ATTRIBUTES[name] if random.random() < 0.99 else random.choice("SNBC")
        tag = {"T": "S", "4": "S", "C": ""}.get(kind, kind)
        if not tag:
            tag = random.choice(("SS", "NS", "BS", "L", "M", "BOOL", "NULL"))
        if tag in _INLINE_TYPES and random.random() < 0.25:
            return ExpressionFormatter().value(_value(random, kind, tag))
        known = [one for one, of in self._parameters.items() if of == (kind, tag)]
        if known and random.random() < 0.15:
            return f":{random.choice(known)}"
        return self._parameter(kind, tag)

    def _parameter(self, kind: str, tag: str) -> str:
        name = f"p{len(self._parameters)}"
        self._parameters[name] = kind, tag
        return f":{name}"


def _value(random: Random, kind: str, tag: str) -> Value:
    """Return a value of type `tag` for an attribute of a kind."""
    match kind, tag:
        case "A", _:
            return Value("S", random.choice((*("S", "N", "B") * 3, "X")))
        case "4", _:
            codes = ("AB12", "ZZ99", "ü!ab", "AB1")
            return Value("S", random.choice(codes if random.random() < 0.95 else _TEXTS))
        case "T", _:
            odd = random.random() < 0.02
            return Value("S", random.choice(_ODD_TIMES if odd else _TIMES))
    return _MAKERS[tag](random)


def _text(random: Random) -> str:
    return random.choice(_ODD_TEXTS if random.random() < 0.08 else _TEXTS)


def _numbers(random: Random) -> frozenset[Decimal]:
    # At times more than an expression may use.
    return frozenset(map(Decimal, range(random.choice((1, 2, 2_000)))))


def _inner(random: Random) -> list[Value]:
    tags = random.choices(("S", "N", "BOOL", "SS", "LEAF"), k=random.randint(0, 3))
    return [Value("L", ()) if tag == "LEAF" else _MAKERS[tag](random) for tag in tags]


_MAKERS: Final[Mapping[str, Callable[[Random], Value]]] = {
    "S": lambda random: Value("S", _text(random)),
    "N": lambda random: Value("N", Decimal(random.choice(_NUMBERS))),
    "B": lambda random: Value("B", random.choice(_BYTES)),
    "BOOL": lambda random: Value("BOOL", random.random() < 0.5),
    "NULL": lambda random: Value("NULL", None),
    "SS": lambda random: Value("SS", frozenset(random.sample(_TEXTS, random.randint(1, 4)))),
    "NS": lambda random: Value("NS", _numbers(random)),
    "BS": lambda random: Value("BS", frozenset(random.sample(_BYTES, 2))),
    "L": lambda random: Value("L", tuple(_inner(random))),
    "M": lambda random: Value("M", tuple(zip(("a", "b", "c"), _inner(random), strict=False))),
}
