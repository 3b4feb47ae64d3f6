"""Finds the comparisons in an expression, for the hints of `ddbq`.

Only the service parses expressions. There are no hints on the parts that this module does not find.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dynamodb_processor_client.values import Value

_NAME: Final = r'(?:[A-Za-z_][A-Za-z0-9_]*|"(?:[^"]|"")+")'
_TOKEN: Final = re.compile(
    rf"""
    (?P<text>'(?:[^']|'')*')
    | (?P<parameter>:[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>[+-]?[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?)
    | (?P<path>{_NAME}(?:\.{_NAME}|\[[0-9]+\])*)
    | (?P<operator><=|>=|<>|=|<|>)
    | (?P<other>\S)
    """,
    re.VERBOSE,
)
_STEP: Final = re.compile(rf"{_NAME}|[0-9]+(?=\])")
_CONSTANTS: Final = frozenset({"true", "false", "null"})
_WORDS: Final = frozenset({"and", "or", "not", "in", "between"}) | _CONSTANTS
_FUNCTIONS: Final = frozenset(
    {
        "size",
        "begins_with",
        "contains",
        "attribute_exists",
        "attribute_not_exists",
        "attribute_type",
    }
)


@dataclass(frozen=True, slots=True)
class Operand:
    """The operand that an attribute is compared with.

    Attributes:
        kind: `text` or `number` for a literal, `parameter`, or `path` for another attribute.
        written: Its text in the expression.
    """

    kind: str
    written: str

    def value(self, parameters: Mapping[str, Value]) -> Value:
        """Return the value of a parameter or a text literal; 0 stands for every other operand."""
        match self.kind:
            case "parameter":
                return parameters.get(self.written[1:])
            case "text":
                return self.written[1:-1].replace("''", "'")
        return 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """The path of an attribute, and one operand that it is compared with."""

    path: str
    operand: Operand

    def steps(self) -> list[str]:
        """Return the names and the list indexes of the path."""
        return [_unquoted(step) for step in _STEP.findall(self.path)]


def comparisons(expression: str) -> Iterator[Comparison]:
    """Yield the comparisons made with operators, `BETWEEN` and `IN`."""
    tokens = [(str(match.lastgroup), match[0]) for match in _TOKEN.finditer(expression)]
    for index, (kind, written) in enumerate(tokens):
        if kind != "path" or written.lower() in _WORDS or _is_called(tokens, index):
            continue
        following = tokens[index + 1 : index + 2]
        if not following:
            return
        if following[0][0] == "operator":
            operands = tokens[index + 2 : index + 3]
        elif following[0][1].lower() == "between":
            operands = [*tokens[index + 2 : index + 3], *tokens[index + 4 : index + 5]]
        elif following[0][1].lower() == "in":
            operands = _members(tokens[index + 3 :])
        else:
            continue
        for operand_kind, operand in operands:
            if operand_kind in ("text", "number", "parameter") or _is_bare(operand_kind, operand):
                yield Comparison(written, Operand(operand_kind, operand))


def names(expression: str) -> Iterator[str]:
    """Yield the attributes that an expression names; of a path the first step."""
    tokens = [(str(match.lastgroup), match[0]) for match in _TOKEN.finditer(expression)]
    for index, (kind, written) in enumerate(tokens):
        if kind == "path" and written.lower() not in _WORDS and not _is_called(tokens, index):
            yield first_name(written)


def first_name(path: str) -> str:
    """Return the attribute at the start of a document path."""
    steps = _STEP.findall(path)
    return _unquoted(steps[0]) if steps else path


def _members(tokens: list[tuple[str, str]]) -> list[tuple[str, str]]:
    found = []
    for token in tokens:
        if token[1] == ")":
            break
        if token[1] != ",":
            found.append(token)
    return found


def _is_bare(kind: str, written: str) -> bool:
    return kind == "path" and written.lower() not in _WORDS | _FUNCTIONS


def _is_called(tokens: list[tuple[str, str]], index: int) -> bool:
    return tokens[index][1].lower() in _FUNCTIONS and tokens[index + 1 : index + 2] == [
        ("other", "(")
    ]


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
