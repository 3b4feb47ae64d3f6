"""Conditions as the tests build them, and their two spellings.

This is deliberately a second model of the expression language, sharing nothing with the server's:
the oracle evaluates it, `service_text` writes it for the service, and `dynamodb_text` writes it for
DynamoDB itself.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Wire: TypeAlias = dict[str, Any]
"""One attribute value as DynamoDB's API writes it, such as `{"S": "x"}`."""
WireItem: TypeAlias = dict[str, Wire]

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
MOST_OPERANDS: Final = 100
"""How many operands DynamoDB takes in one IN."""
_KEYWORDS = {"and", "or", "not", "between", "in", "true", "false", "null"}


@dataclass(frozen=True, slots=True)
class Path:
    """An attribute, then the map keys and list positions that lead into it."""

    parts: tuple[str | int, ...]

    @property
    def attribute(self) -> str:
        """The top-level attribute."""
        return str(self.parts[0])


@dataclass(frozen=True, slots=True)
class Constant:
    """A value; `inline` asks for a literal where the language has one, else for a parameter."""

    value: Wire
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Size:
    """`size(path)`."""

    path: Path


Operand: TypeAlias = Path | Constant | Size


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left operator right`."""

    left: Operand
    operator: str
    right: Operand


@dataclass(frozen=True, slots=True)
class Between:
    """`operand BETWEEN low AND high`."""

    operand: Operand
    low: Operand
    high: Operand


@dataclass(frozen=True, slots=True)
class In:
    """`operand IN (options)`."""

    operand: Operand
    options: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function that is a condition; `argument` is None for the two tests of existence."""

    name: str
    path: Path
    argument: Operand | None = None


@dataclass(frozen=True, slots=True)
class And:
    """All of the parts."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of the parts."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of the term."""

    term: Condition


Condition: TypeAlias = Comparison | Between | In | Function | And | Or | Not


def attributes_of(condition: Condition) -> frozenset[str]:
    """Return the top-level attributes that a condition reads."""
    return frozenset(path.attribute for path in _paths(condition))


def _paths(condition: Condition) -> Iterator[Path]:
    match condition:
        case And(parts) | Or(parts):
            for term in parts:
                yield from _paths(term)
        case Not(term):
            yield from _paths(term)
        case _:
            for operand in _operands(condition):
                if not isinstance(operand, Constant):
                    yield operand.path if isinstance(operand, Size) else operand


def _operands(leaf: Comparison | Between | In | Function) -> tuple[Operand, ...]:
    match leaf:
        case Comparison(left, _, right):
            return left, right
        case Between(operand, low, high):
            return operand, low, high
        case In(operand, options):
            return operand, *options
        case Function(_, path, argument):
            return (path,) if argument is None else (path, argument)


def service_text(condition: Condition) -> tuple[str, dict[str, Wire]]:
    """Return a condition in the service's language, with its parameters by name."""
    writer = _ServiceWriter()
    return writer.condition(condition, 0), writer.parameters


def service_path(path: Path) -> str:
    """Return a document path in the service's language."""
    return _ServiceWriter().path(path)


@dataclass(frozen=True, slots=True)
class DynamoDBText:
    """A condition or projection for DynamoDB's own API, with its aliases."""

    text: str
    names: dict[str, str]
    values: dict[str, Wire]


def dynamodb_text(condition: Condition) -> DynamoDBText:
    """Return a condition as a filter expression for DynamoDB itself."""
    writer = _DynamoDBWriter()
    return DynamoDBText(writer.condition(condition, 0), writer.names, writer.values)


def dynamodb_projection(paths: tuple[Path, ...]) -> DynamoDBText:
    """Return document paths as a projection expression for DynamoDB itself."""
    writer = _DynamoDBWriter("#p")
    return DynamoDBText(", ".join(writer.path(path) for path in paths), writer.names, {})


class _Writer(ABC):
    """Writes conditions with no parenthesis that precedence makes superfluous.

    DynamoDB refuses doubled parentheses, so fewest is the one style that both accept.
    """

    def condition(self, condition: Condition, binding: int) -> str:
        match condition:
            case Or(parts):
                return self._joined(" OR ", parts, 1, binding)
            case And(parts):
                return self._joined(" AND ", parts, 2, binding)
            case Not(term):
                return f"NOT {self.condition(term, 3)}"
            case Comparison(left, operator, right):
                return f"{self.operand(left)} {operator} {self.operand(right)}"
            case Between(operand, low, high):
                bounds = f"{self.operand(low)} AND {self.operand(high)}"
                return f"{self.operand(operand)} BETWEEN {bounds}"
            case In(operand, options):
                listed = ", ".join(self.operand(option) for option in options)
                return f"{self.operand(operand)} IN ({listed})"
            case Function(name, path, argument):
                more = "" if argument is None else f", {self.operand(argument)}"
                return f"{name}({self.path(path)}{more})"

    def _joined(self, word: str, parts: tuple[Condition, ...], binding: int, around: int) -> str:
        text = word.join(self.condition(term, binding + 1) for term in parts)
        return f"({text})" if around > binding else text

    def operand(self, operand: Operand) -> str:
        match operand:
            case Path():
                return self.path(operand)
            case Size(path):
                return f"size({self.path(path)})"
            case Constant():
                return self.constant(operand)

    def path(self, path: Path) -> str:
        text = self.name(path.attribute)
        for part in path.parts[1:]:
            text += f"[{part}]" if isinstance(part, int) else f".{self.name(part)}"
        return text

    @abstractmethod
    def name(self, name: str) -> str:
        """Return an attribute's name as written."""

    @abstractmethod
    def constant(self, constant: Constant) -> str:
        """Return a constant as written."""


class _ServiceWriter(_Writer):
    def __init__(self) -> None:
        self.parameters: dict[str, Wire] = {}

    def name(self, name: str) -> str:
        if _PLAIN_NAME.match(name) and name.lower() not in _KEYWORDS:
            return name
        return '"' + name.replace('"', '""') + '"'

    def constant(self, constant: Constant) -> str:
        literal = _literal(constant.value) if constant.inline else None
        if literal is not None:
            return literal
        name = f"p{len(self.parameters)}"
        self.parameters[name] = constant.value
        return f":{name}"


def _literal(value: Wire) -> str | None:
    match value:
        case {"S": str(text)}:
            return "'" + text.replace("'", "''") + "'"
        case {"N": str(digits)}:
            return digits
        case {"BOOL": bool(truth)}:
            return "true" if truth else "false"
        case {"NULL": True}:
            return "null"
    return None


class _DynamoDBWriter(_Writer):
    def __init__(self, alias: str = "#n") -> None:
        self._alias = alias
        self.names: dict[str, str] = {}
        self.values: dict[str, Wire] = {}

    def condition(self, condition: Condition, binding: int) -> str:
        if isinstance(condition, In) and len(condition.options) > MOST_OPERANDS:
            starts = range(0, len(condition.options), MOST_OPERANDS)
            parts = (condition.options[start : start + MOST_OPERANDS] for start in starts)
            condition = Or(tuple(In(condition.operand, part) for part in parts))
        return super().condition(condition, binding)

    def name(self, name: str) -> str:
        for alias, known in self.names.items():
            if known == name:
                return alias
        alias = f"{self._alias}{len(self.names)}"
        self.names[alias] = name
        return alias

    def constant(self, constant: Constant) -> str:
        name = f":v{len(self.values)}"
        self.values[name] = constant.value
        return name
