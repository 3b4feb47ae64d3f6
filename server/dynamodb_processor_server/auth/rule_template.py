"""Row rules with variables, such as `tenant_id = ${claims.tenant}`.

The values of variables become constants of the rule, as parameters do in a query: they are never
part of the text that is parsed. So a value cannot change the rule's meaning. This happens before
planning: a bound rule is like one that was written with these constants.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import product
from types import MappingProxyType
from typing import Any, Final

from dynamodb_processor_server.query.expression.parser import (
    ExpressionError,
    parse_expression,
    parse_path,
)
from dynamodb_processor_server.query.expression.values import Value, parse_number
from dynamodb_processor_server.query.planning.row_rule import RowRule

PRINCIPAL: Final = "principal"
_CLAIMS: Final = "claims"
_MAX_VARIABLES: Final = 6  # of one rule; each doubles the number of checks when a file is read
_MAX_MEMBERS: Final = 100  # of a list, as many as DynamoDB takes for IN
_KNOWN: Final = "a variable is ${principal} or ${claims.NAME}"

# Quoted text, which holds no variables, or a variable; a claim's name may be quoted inside. The
# possessive `*+` keeps a file with many quotes in a row from taking exponential time.
_TOKEN: Final = re.compile(
    r"""'(?:[^']|'')*+'|"(?:[^"]|"")*+"|\$\{(?P<name>(?:[^{}"]|"(?:[^"]|"")*+")*+)\}"""
)


class UnboundVariable(Exception):
    """A variable has no value for a caller, or one that the rule cannot use.

    `variable` is its text as in the rule. `reason` completes "the value ..." without the value.
    """

    def __init__(self, variable: str, reason: str) -> None:
        super().__init__(f"{variable} {reason}")
        self.variable = variable
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Subject:
    """A caller as rules see it: the principal's name, and the claims of a bearer token."""

    principal: str
    claims: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a rule: its text, and its path in the claims, empty for the principal."""

    text: str
    path: tuple[str | int, ...]

    def values(self, subject: Subject) -> tuple[Value, ...]:
        """Return the value for a caller; several where the claim is a list.

        Raises UnboundVariable.
        """
        found: Any = subject.principal
        if self.path:
            found = claim_at(subject.claims, self.path)
        if found is None:
            raise UnboundVariable(self.text, "is missing")
        if not isinstance(found, list):
            return (self._value(found),)
        if not 1 <= len(found) <= _MAX_MEMBERS:
            raise UnboundVariable(self.text, f"is a list without 1 to {_MAX_MEMBERS} members")
        return tuple(dict.fromkeys(map(self._value, found)))

    def _value(self, data: Any) -> Value:
        try:
            match data:
                case bool():
                    pass
                case str() if data:
                    data.encode()  # half of a surrogate pair cannot be sent to DynamoDB
                    return Value("S", data)
                case int() | Decimal():
                    return Value("N", parse_number(str(data)))
        except ValueError:
            pass
        raise UnboundVariable(
            self.text, "is not a text with characters, a number, or a list of these"
        )


def claim_at(claims: Mapping[str, Any], path: Sequence[str | int]) -> Any:
    """Return the claim at a path of names and list indexes, None if there is none."""
    found: Any = claims
    for part in path:
        if isinstance(part, str) and isinstance(found, Mapping):
            found = found.get(part)
        elif isinstance(part, int) and isinstance(found, list) and part < len(found):
            found = found[part]
        else:
            return None
    return found


class RuleTemplate:
    """A row rule whose variables have no values yet.

    Attributes:
        variables: The distinct variables, in the order of the text.
        sample: The rule with invented values. It is the rule itself if there are no variables.
    """

    def __init__(self, text: str, as_filter: bool = False) -> None:
        """Parse a rule. Raises ExpressionError if no values of its variables make it valid."""
        self._as_filter = as_filter
        self._parts = tuple(_parts(text))
        self.variables = tuple(
            dict.fromkeys(part for part in self._parts if isinstance(part, Variable))
        )
        if len(self.variables) > _MAX_VARIABLES:
            raise ExpressionError(f"a rule has at most {_MAX_VARIABLES} variables", 0)
        self.sample = self._sample()

    def values(self, subject: Subject) -> tuple[tuple[Value, ...], ...]:
        """Return the values of each variable for a caller. Raises UnboundVariable."""
        return tuple(variable.values(subject) for variable in self.variables)

    def bind(self, values: Sequence[tuple[Value, ...]]) -> RowRule:
        """Return the rule with the values of each variable.

        Raises UnboundVariable if they do not fit the rule, as a list beside `=` does not.
        """
        try:
            return self._bind(values)
        except ExpressionError:
            names = ", ".join(variable.text for variable in self.variables)
            raise UnboundVariable(names, "does not fit the rule by its type") from None

    def _bind(self, values: Sequence[tuple[Value, ...]]) -> RowRule:
        parameters: dict[str, Value] = {}
        texts: dict[Variable, str] = {}
        for index, (variable, members) in enumerate(zip(self.variables, values, strict=True)):
            named = {f"v{index}_{member}": value for member, value in enumerate(members)}
            parameters |= named
            # As long as the variable, so that an error names the column of the rule's own text.
            texts[variable] = ", ".join(f":{name}" for name in named).ljust(len(variable.text))
        text = "".join(part if isinstance(part, str) else texts[part] for part in self._parts)
        return RowRule(parse_expression(text, parameters), self._as_filter)

    def _sample(self) -> RowRule:
        first: ExpressionError | None = None
        for kinds in product((_text_sample, _number_sample), repeat=len(self.variables)):
            try:
                return self._bind(
                    [(of(each),) for of, each in zip(kinds, self.variables, strict=True)]
                )
            except ExpressionError as error:
                first = first or error
        assert first is not None, "there is at least one combination"
        raise first


def _text_sample(variable: Variable) -> Value:
    return Value("S", variable.text)


def _number_sample(variable: Variable) -> Value:
    return Value("N", parse_number(str(len(variable.text))))


def _parts(text: str) -> Iterator[str | Variable]:
    """Yield the pieces of a rule's text: variables, and the text before, between and behind."""
    end = 0
    for match in _TOKEN.finditer(text):
        if match["name"] is not None:
            yield text[end : match.start()]
            yield _variable(match)
            end = match.end()
        elif match[0].startswith("'") and "${" in match[0]:
            raise ExpressionError("write variables without quotes", match.start() + 1)
    yield text[end:]


def _variable(match: re.Match[str]) -> Variable:
    name = match["name"].strip()
    if name == PRINCIPAL:
        return Variable(match[0], ())
    try:
        first, *path = parse_path(name).parts
    except ExpressionError:
        first, path = "", []
    if first != _CLAIMS or not path:
        raise ExpressionError(_KNOWN, match.start() + 1)
    return Variable(match[0], tuple(path))
