"""What an expression compares with what: as much of it as advice to a person needs.

The service alone parses expressions; what this reading does not see is not advised on.
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
    """What an attribute is compared with.

    Attributes:
        kind: `text` and `number` for what is written out, `parameter`, or `path` for another
            attribute.
        written: As the expression has it.
    """

    kind: str
    written: str

    def value(self, parameters: Mapping[str, Value]) -> Value:
        """Return the text that is compared, if it is text; else another value of its type."""
        match self.kind:
            case "parameter":
                return parameters.get(self.written[1:])
            case "text":
                return self.written[1:-1].replace("''", "'")
        return 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """An attribute's path, and one thing that it is compared with."""

    path: str
    operand: Operand

    def steps(self) -> list[str]:
        """Return the names and places that the path leads through."""
        return [_unquoted(step) for step in _STEP.findall(self.path)]


def comparisons(expression: str) -> Iterator[Comparison]:
    """Give the comparisons by operators, `BETWEEN` and `IN`."""
    tokens = [(str(match.lastgroup), match[0]) for match in _TOKEN.finditer(expression)]
    for place, (kind, written) in enumerate(tokens):
        if kind != "path" or written.lower() in _WORDS or _is_called(tokens, place):
            continue
        following = tokens[place + 1 : place + 2]
        if not following:
            return
        if following[0][0] == "operator":
            operands = tokens[place + 2 : place + 3]
        elif following[0][1].lower() == "between":
            operands = [*tokens[place + 2 : place + 3], *tokens[place + 4 : place + 5]]
        elif following[0][1].lower() == "in":
            operands = _members(tokens[place + 3 :])
        else:
            continue
        for operand_kind, operand in operands:
            if operand_kind in ("text", "number", "parameter") or _is_bare(operand_kind, operand):
                yield Comparison(written, Operand(operand_kind, operand))


def names(expression: str) -> Iterator[str]:
    """Give the attributes that an expression names, of paths the first step."""
    tokens = [(str(match.lastgroup), match[0]) for match in _TOKEN.finditer(expression)]
    for place, (kind, written) in enumerate(tokens):
        if kind == "path" and written.lower() not in _WORDS and not _is_called(tokens, place):
            yield first_name(written)


def first_name(path: str) -> str:
    """Return the attribute that a document path begins with."""
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


def _is_called(tokens: list[tuple[str, str]], place: int) -> bool:
    return tokens[place][1].lower() in _FUNCTIONS and tokens[place + 1 : place + 2] == [
        ("other", "(")
    ]


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
