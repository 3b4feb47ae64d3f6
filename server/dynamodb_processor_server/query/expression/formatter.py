"""Formats conditions as expressions in the language that `parse_expression` parses.

Values without a literal form (binary, sets, documents) become parameters `:v1`, `:v2`, ….
"""

from __future__ import annotations

from dynamodb_processor_server.query.expression.ast import And, Or, Path
from dynamodb_processor_server.query.expression.condition_text import ConditionText
from dynamodb_processor_server.query.expression.values import Value, number_text


class ExpressionFormatter(ConditionText):
    """Formats conditions; `parameters` has the values of the parameters in the text so far."""

    # A nested AND or OR keeps its parentheses, so that the text is parsed to an equal condition.
    IN_AND = (And, Or)
    IN_OR = (Or,)

    def __init__(self) -> None:
        self.parameters: dict[str, Value] = {}

    def path(self, path: Path) -> str:
        """Return a document path's text."""
        return str(path)

    def value(self, value: Value) -> str:
        """Return a literal, or the name of a new parameter."""
        match value.type:
            case "S":
                text: str = value.data
                return "'" + text.replace("'", "''") + "'"
            case "N":
                return number_text(value.data)
            case "BOOL":
                return "true" if value.data else "false"
            case "NULL":
                return "null"
        name = f"v{len(self.parameters) + 1}"
        self.parameters[name] = value
        return f":{name}"
