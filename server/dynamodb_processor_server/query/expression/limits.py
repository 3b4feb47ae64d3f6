"""Limits on one expression, which bound the time to parse and plan it.

DynamoDB allows 4 KB of expression, 300 operators and 2 MB of values. Expressions here may be
longer: they include literals, and the service evaluates the conditions that DynamoDB does not take.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from dynamodb_processor_server.query.expression.symbolic import decide
from dynamodb_processor_server.query.expression.validation import ExpressionError
from dynamodb_processor_server.query.expression.values import Value, size_of

#: Maximum bytes of an expression in UTF-8, or of one document path.
MAX_BYTES: Final = 8 * 1024
#: Maximum levels of nested conditions, and of one document path.
MAX_DEPTH: Final = 32
#: Maximum names, values, operators and signs of an expression; each takes about 30 microseconds.
MAX_TOKENS: Final = 2_500
#: Maximum values in parameters, with members and elements; each use of a parameter counts.
MAX_VALUES: Final = 5_000
#: Maximum bytes of values in parameters; each use of a parameter counts.
MAX_VALUE_BYTES: Final = 2_000_000

TOO_DEEP: Final = f"an expression is at most {MAX_DEPTH} levels deep"
TOO_MANY_VALUES: Final = (
    f"parameters hold at most {MAX_VALUES} values in all, with those inside lists, maps and sets, "
    "and each as often as the expression uses it"
)
_TOO_MANY_BYTES: Final = (
    f"parameters hold at most {MAX_VALUE_BYTES} bytes in all, each as often as the expression uses "
    "it"
)

_OPEN: Final = "("
_CLOSE: Final = ")"
# Each level of a path is one token, with its dot or brackets.
_TOKEN: Final = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")+"|[\w:]+|\.\w+|\[\d+\]|[<>]=|<>|[^ \t\f\r\n]"""
)


def check_tokens(text: str) -> None:
    """Raise ExpressionError for an expression too long or too deep for the parser.

    The parser takes about fifty times as long for a token as this check. The depth is approximate:
    the lists of IN and the operands of functions do not count as levels.
    """
    tokens = _TOKEN.findall(text)
    if len(tokens) > MAX_TOKENS:
        raise ExpressionError(
            f"an expression has at most {MAX_TOKENS} names, values, operators and other signs", 0
        )
    depth = 0
    for token in tokens:
        if token == _OPEN:
            depth += 1
            if depth > MAX_DEPTH + 2:
                raise ExpressionError(TOO_DEEP, 0)
        elif token == _CLOSE:
            depth -= 1


class ParameterUse:
    """The parameters that an expression uses, with a bound on their total size.

    Each use counts, because a parameter is planned, encoded and sent once for each use.
    """

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}
        self._uses: list[tuple[str, int]] = []

    @property
    def names(self) -> frozenset[str]:
        """The names of the parameters used so far."""
        return frozenset(self._values)

    def add(self, name: str, value: Value, column: int) -> None:
        """Note one use."""
        self._values[name] = value
        self._uses.append((name, column))

    def check(self) -> None:
        """Raise ExpressionError for the first use that exceeds a limit."""
        names, values = tuple(self._values), tuple(self._values.values())
        error = decide(_first_excess, tuple(self._uses), names, values)
        if error is not None:
            raise ExpressionError(*error)


def _first_excess(
    uses: Iterable[tuple[str, int]], names: Iterable[str], values: Iterable[Value]
) -> tuple[str, int] | None:
    """Return the error of the first use, by name and column, that exceeds a limit, and its column.

    `values` are the parameters called `names`.
    """
    sizes = dict(zip(names, map(size_of, values), strict=True))
    total = total_bytes = 0
    for name, column in uses:
        count, size = sizes[name]
        total, total_bytes = total + count, total_bytes + size
        if total > MAX_VALUES:
            return TOO_MANY_VALUES, column
        if total_bytes > MAX_VALUE_BYTES:
            return _TOO_MANY_BYTES, column
    return None
