"""Parses expression text into the model. The grammar is `grammar.lark` beside this module.

It checks everything that does not depend on the table: syntax, parameters, sizes, and the static
type rules by which DynamoDB refuses an expression without reading an item.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final, TypeAlias, cast

from lark import Lark, Token
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken, VisitError
from lark.visitors import Transformer_NonRecursive

from dynamodb_processor_server.query.expression import validation
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
from dynamodb_processor_server.query.expression.limits import (
    MAX_BYTES,
    MAX_DEPTH,
    TOO_DEEP,
    ParameterUse,
    check_tokens,
)
from dynamodb_processor_server.query.expression.syntax_hints import function_hint, syntax_hint
from dynamodb_processor_server.query.expression.validation import ExpressionError
from dynamodb_processor_server.query.expression.values import Value, parse_number

__all__ = ["MAX_BYTES", "MAX_DEPTH", "ExpressionError", "parse_expression", "parse_path"]

_SPACE: Final = r"[ \t\f\r\n]*"
# One level of a path, as in the grammar: a name or, after another level, a list index.
_LEVEL: Final = re.compile(
    rf"""{_SPACE}(\.{_SPACE})?(?:([A-Za-z_][A-Za-z0-9_]*)|("(?:[^"]|"")+")){_SPACE}"""
    rf"""|{_SPACE}\[{_SPACE}(\d{{1,9}}){_SPACE}\]{_SPACE}"""
)

_FUNCTIONS: Final = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
}
# Functions whose first operand may also be a value or a size.
_FUNCTIONS_OF_VALUES: Final = frozenset({"begins_with", "contains"})
_TERMINAL_TEXTS: Final = {
    "COMPARATOR": "a comparison (=, <>, <, <=, >, >=)",
    "BETWEEN": "BETWEEN",
    "IN": "IN",
    "AND": "AND",
    "OR": "OR",
    "NOT": "NOT",
    "NAME": "a name",
    "QUOTED": "a name",
    "STRING": "a value",
    "NUMBER": "a value",
    "TRUE": "a value",
    "FALSE": "a value",
    "NULL": "a value",
    "PARAMETER": "a value",
    "INDEX": "a list position",
    "LPAR": "'('",
    "RPAR": "')'",
    "LSQB": "'['",
    "RSQB": "']'",
    "COMMA": "','",
    "DOT": "'.'",
    "$END": "the end",
}

_TOO_DEEP_PATH: Final = f"a path is at most {MAX_DEPTH} levels deep"

# While parsing, each condition has its depth in levels with it.
_Nested: TypeAlias = tuple[Condition, int]


def parse_expression(text: str, parameters: Mapping[str, Value]) -> Condition:
    """Parse an expression and fill in its parameters.

    Raises ExpressionError, which names the column, for anything that DynamoDB would refuse without
    reading an item, and for parameters that are missing or unused.
    """
    if len(text.encode()) > MAX_BYTES:
        raise ExpressionError(f"an expression has at most {MAX_BYTES} bytes", 0)
    check_tokens(text)
    builder = _Builder(parameters)
    condition, _ = _parse(text, "start", builder)
    builder.parameter_use.check()
    unused = parameters.keys() - builder.parameter_use.names
    if unused:
        names = ", ".join(f":{name}" for name in sorted(unused)[:5])
        raise ExpressionError(f"{names} is given but not used", 0)
    validation.check(condition)
    return condition  # type: ignore[no-any-return]


def parse_path(text: str) -> Path:
    """Parse a document path. Raises ExpressionError for any other text."""
    if len(text.encode()) > MAX_BYTES:
        raise ExpressionError(f"a path has at most {MAX_BYTES} bytes", 0)
    parts: list[tuple[str | int, int]] = []
    offset = 0
    while offset < len(text) and (level := _LEVEL.match(text, offset)) is not None:
        dot, name, quoted, index = level.groups()
        if index is None and (dot is None) != (not parts):
            break
        if index is not None and not parts:
            break
        if len(parts) == MAX_DEPTH:
            raise ExpressionError(_TOO_DEEP_PATH, parts[0][1])
        if index is not None:
            parts.append((int(index), level.start(4) + 1))
        else:
            plain = name or quoted[1:-1].replace('""', '"')
            parts.append((plain, level.start(2 if name else 3) + 1))
        offset = level.end()
    if offset < len(text) or not parts:
        _parse(text, "path", _Builder({}))  # raises the error with its reason
        raise AssertionError(f"{text[:40]!r} is a path after all")
    return Path(tuple(part for part, _ in parts), parts[0][1])


def prepare_parser() -> None:
    """Build the parser ahead of the first expression, because that takes a while."""
    _grammar()


@cache
def _grammar() -> Lark:
    grammar = files(__package__).joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", start=["start", "path"], maybe_placeholders=False)


def _parse(text: str, start: str, builder: _Builder) -> Any:
    try:
        return builder.transform(_grammar().parse(text, start))
    except UnexpectedInput as error:
        raise _syntax_error(error, text, start) from None
    except VisitError as error:
        raise error.orig_exc from None


def _syntax_error(error: UnexpectedInput, text: str, start: str) -> ExpressionError:
    names: set[str] = set()
    match error:
        case UnexpectedToken(token=token, accepts=accepts, expected=expected):
            found = "the end" if token.type == "$END" else repr(str(token)[:40])
            names = accepts or expected
            column = len(text) + 1 if token.type == "$END" else _column(token)
        case UnexpectedCharacters(char=char, allowed=allowed):
            found, names = repr(char), allowed or names
            column = 1 + cast(int, error.pos_in_stream)  # the stubs wrongly declare None
        case _:
            found, column = "the end", len(text) + 1
    hint = syntax_hint(text, column)
    if hint:
        return ExpressionError(f"found {found}: {hint}", column)
    expected_text = " or ".join(sorted({_TERMINAL_TEXTS.get(name, name) for name in names}))
    whole = "one path and no more" if start == "path" else "a condition"
    return ExpressionError(f"expected {expected_text or whole}, found {found}", column)


class _Builder(Transformer_NonRecursive[Token, Any]):
    """Builds the model from the leaves up, without recursion, for any depth of nesting."""

    def __init__(self, parameters: Mapping[str, Value]) -> None:
        super().__init__()
        self._parameters = parameters
        self.parameter_use = ParameterUse()

    # Rules for conditions; each returns (condition, depth).

    def disjunction(self, children: list[Any]) -> _Nested:
        return self._combined(children, Or)

    def conjunction(self, children: list[Any]) -> _Nested:
        return self._combined(children, And)

    def _combined(self, children: list[Any], kind: type[And | Or]) -> _Nested:
        nested: list[_Nested] = [child for child in children if not isinstance(child, Token)]
        if len(nested) == 1:
            return nested[0]
        terms = tuple(condition for condition, _ in nested)
        return kind(terms), max(depth for _, depth in nested)

    def negated(self, children: list[Any]) -> _Nested:
        keyword, (condition, depth) = children
        return Not(condition), _deeper(depth, keyword)

    def nested(self, children: list[_Nested]) -> _Nested:
        condition, depth = children[0]
        return condition, _deeper(depth, None)

    def comparison(self, children: list[Any]) -> _Nested:
        left, operator, right = children
        return Comparison(operator.value, left, right, _column(operator)), 1

    def between(self, children: list[Any]) -> _Nested:
        operand, keyword, low, _, high = children
        return Between(operand, low, high, _column(keyword)), 1

    def one_of(self, children: list[Any]) -> _Nested:
        operand, keyword, *options = children
        return In(operand, tuple(options), _column(keyword)), 1

    def function(self, children: list[Any]) -> _Nested:
        name, arguments = children[0]
        if name == "size":
            raise ExpressionError("size(…) is a number: compare it with something", _column(name))
        if name not in _FUNCTIONS:
            hint = function_hint(str(name), [*_FUNCTIONS, "size"])
            raise ExpressionError(f"unknown function {str(name)[:40]!r}: {hint}", _column(name))
        if len(arguments) != _FUNCTIONS[name]:
            raise ExpressionError(f"{name} takes {_FUNCTIONS[name]} operand(s)", _column(name))
        if name not in _FUNCTIONS_OF_VALUES and not isinstance(arguments[0], Path):
            raise ExpressionError(f"{name}'s first operand must be an attribute", _column(name))
        argument = arguments[1] if len(arguments) > 1 else None
        return Function(str(name), arguments[0], argument, _column(name)), 1

    # Rules for operands.

    def call(self, children: list[Any]) -> tuple[Token, list[Operand]]:
        return children[0], children[1:]

    def size(self, children: list[Any]) -> Size:
        name, arguments = children[0]
        if name != "size":
            raise ExpressionError(
                f"{str(name)[:40]!r} is not an operand; only size(…) is", _column(name)
            )
        if len(arguments) != 1 or isinstance(arguments[0], Size):
            raise ExpressionError("size takes one attribute or value", _column(name))
        return Size(arguments[0], _column(name))

    def path(self, children: list[Any]) -> Path:
        column = children[0][1]
        if len(children) > MAX_DEPTH:
            raise ExpressionError(_TOO_DEEP_PATH, column)
        return Path(tuple(part for part, _ in children), column)

    def name(self, children: list[Token]) -> tuple[str, int]:
        token = children[0]
        text = token[1:-1].replace('""', '"') if token.type == "QUOTED" else str(token)
        return text, _column(token)

    def member(self, children: list[tuple[str, int]]) -> tuple[str, int]:
        return children[0]

    def position(self, children: list[Token]) -> tuple[int, int]:
        return int(children[0]), _column(children[0])

    def parameter(self, children: list[Token]) -> Literal:
        name = children[0][1:]
        if name not in self._parameters:
            raise ExpressionError(f"parameter :{name[:40]} is not given", _column(children[0]))
        value = self._parameters[name]
        self.parameter_use.add(name, value, _column(children[0]))
        return Literal(value, _column(children[0]))

    def string(self, children: list[Token]) -> Literal:
        text = children[0][1:-1].replace("''", "'")
        return Literal(Value("S", text), _column(children[0]))

    def number(self, children: list[Token]) -> Literal:
        try:
            number = parse_number(children[0])
        except ValueError as error:
            raise ExpressionError(str(error), _column(children[0])) from None
        return Literal(Value("N", number), _column(children[0]))

    def true(self, children: list[Token]) -> Literal:
        return Literal(Value("BOOL", True), _column(children[0]))

    def false(self, children: list[Token]) -> Literal:
        return Literal(Value("BOOL", False), _column(children[0]))

    def null(self, children: list[Token]) -> Literal:
        return Literal(Value("NULL", None), _column(children[0]))


def _deeper(depth: int, keyword: Token | None) -> int:
    if depth >= MAX_DEPTH:
        column = _column(keyword) if keyword else 0
        raise ExpressionError(TOO_DEEP, column)
    return depth + 1


def _column(token: Token) -> int:
    """Return a token's place in the whole text, counted from 1 across lines."""
    return 1 + (token.start_pos or 0)
