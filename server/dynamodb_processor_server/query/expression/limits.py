"""The limits on one expression, so that parsing and planning it takes a bounded time.

DynamoDB has 4 KB of expression, 300 operators and 2 MB of values. Expressions here may be longer,
since they hold literals and since what DynamoDB does not take is evaluated in the service.
"""

from __future__ import annotations

import re
from typing import Final

from dynamodb_processor_server.query.expression.validation import ExpressionError
from dynamodb_processor_server.query.expression.values import Value, size_of

#: Bytes of an expression in UTF-8, or of one document path.
MAX_BYTES: Final = 8 * 1024
#: Levels of nested conditions, and of one document path.
MAX_DEPTH: Final = 32
#: Names, values, operators and signs of an expression; each takes about 30 microseconds.
MAX_TOKENS: Final = 2_500
#: Values that parameters hold, members and elements included, as often as they are used.
MAX_VALUES: Final = 5_000
#: Bytes that parameters hold, as often as they are used.
MAX_VALUE_BYTES: Final = 2_000_000

TOO_DEEP: Final = f"an expression is at most {MAX_DEPTH} levels deep"
TOO_MANY_VALUES: Final = (
    f"parameters hold at most {MAX_VALUES} values in all, with those inside lists, maps and sets, "
    "and each as often as the expression uses it"
)

_OPEN: Final = "("
_CLOSE: Final = ")"
# Each level of a path is one token, whatever its signs.
_TOKEN: Final = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")+"|[\w:]+|\.\w+|\[\d+\]|[<>]=|<>|[^ \t\f\r\n]"""
)


def check_tokens(text: str) -> None:
    """Raise ExpressionError for what is too long or too deep to be given to the parser.

    The parser takes some fifty times as long for a token as this does. The depth is not exact: the
    lists of IN and the operands of functions are no levels.
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
    """The parameters that an expression uses, bounded in what they hold together.

    A parameter is planned, encoded and sent as often as it is used, so each use counts.
    """

    def __init__(self) -> None:
        self._sizes: dict[str, tuple[int, int]] = {}
        self._values = self._bytes = 0

    @property
    def names(self) -> frozenset[str]:
        """The names of those that are used."""
        return frozenset(self._sizes)

    def add(self, name: str, value: Value, column: int) -> None:
        """Count one use, or raise ExpressionError where it is one too many."""
        size = self._sizes.get(name)
        if size is None:
            size = self._sizes[name] = size_of(value)
        self._values += size[0]
        self._bytes += size[1]
        if self._values > MAX_VALUES:
            raise ExpressionError(TOO_MANY_VALUES, column)
        if self._bytes > MAX_VALUE_BYTES:
            raise ExpressionError(
                f"parameters hold at most {MAX_VALUE_BYTES} bytes in all, each as often as the "
                "expression uses it",
                column,
            )
