"""The query: which items of a table to read, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.value_pb2 import AttributeValue
from dynamodb_processor_client import argument_checks as check
from dynamodb_processor_client.conditions import Condition, render
from dynamodb_processor_client.options import consistency
from dynamodb_processor_client.values import Value, encode


@dataclass(frozen=True, init=False, slots=True)
class Query:
    """An immutable query, for every method of `QueryClient` that takes one.

        overdue = Query("invoices", "customer_id = :c AND due < :d", c="c-7", d="2026-01-31")
        explanation = await client.explain(overdue)  # without await in the synchronous client
        page = await client.query(overdue, page_size=20)

    Keyword arguments that are no attribute are the values of the `:name` parameters. `parameters`
    takes those whose names are attributes too, such as `:index`. A condition built with boto3's
    `Attr` and `Key` can take the place of the text; it has its own parameters.

    The constructor checks the arguments and encodes the parameters, once for all calls. The calls
    do not see later changes to a list or a dictionary that was passed to it.

    Attributes:
        table: The table's name in the catalog.
        expression: The condition, in DynamoDB's condition-expression language, with literals
            allowed. Empty means every item.
        parameters: The values of the parameters, by name without the colon.
        index: The index that must be used, `"@table"` for the base table; `None` if the service
            chooses.
        descending: Whether the largest sort key comes first.
        projection: Document paths of the attributes to return; empty for all.
        consistent: Whether to use strongly consistent reads. They cost twice as much and are not
            cached; global indexes do not offer them.
        max_items: Limit on the items that all pages together return; `None` for no limit. The page
            tokens carry the remainder. `count` takes `up_to` instead.
    """

    table: str
    expression: str
    parameters: Mapping[str, Value] = field(hash=False)
    index: str | None
    descending: bool
    projection: tuple[str, ...]
    consistent: bool
    max_items: int | None
    _message: query_pb2.QuerySpec = field(repr=False, compare=False)

    def __init__(
        self,
        table: str,
        expression: str | Condition = "",
        *,
        parameters: Mapping[str, Value] | None = None,
        index: str | None = None,
        descending: bool = False,
        projection: Sequence[str] = (),
        consistent: bool = False,
        max_items: int | None = None,
        **named: Value,
    ) -> None:
        """Make a query.

        Raises:
            TypeError: An argument, or the value of a parameter, has the wrong type; or a keyword is
                neither an attribute nor a parameter of the text.
            ValueError: A parameter is given twice, or DynamoDB cannot hold its value.
        """
        text, values = _condition(expression, named, check.mapping("parameters", parameters))
        message = query_pb2.QuerySpec(
            table=check.text("table", table),
            expression=check.text("expression", text),
            parameters={name: _encoded(name, value) for name, value in values.items()},
            index="" if index is None else check.text("index", index),
            order=(
                query_pb2.ORDER_DESCENDING
                if check.flag("descending", descending)
                else query_pb2.ORDER_UNSPECIFIED
            ),
            projection=check.paths("projection", projection),
            consistency=consistency(consistent),
            max_items=None if max_items is None else check.integer("max_items", max_items),
        )
        attributes = {
            "table": table,
            "expression": text,
            "parameters": values,
            "index": index or None,
            "descending": bool(descending),
            "projection": tuple(message.projection),
            "consistent": bool(consistent),
            "max_items": message.max_items if message.HasField("max_items") else None,
            "_message": message,
        }
        for name, value in attributes.items():
            object.__setattr__(self, name, value)  # The class is frozen.

    def to_message(self) -> query_pb2.QuerySpec:
        """Return a copy of the query's message, which may be changed."""
        message = query_pb2.QuerySpec()
        message.CopyFrom(self._message)
        return message


def query_message(query: Query) -> query_pb2.QuerySpec:
    """Return the message of an argument that must be a query.

    Raises:
        TypeError: The argument is something else, such as the name of a table.
    """
    if not isinstance(query, Query):
        raise TypeError(f"query is a Query, such as Query('flights'), not {check.shown(query)}")
    return query.to_message()


def _condition(
    expression: str | Condition, named: Mapping[str, Value], parameters: Mapping[str, Value]
) -> tuple[str, dict[str, Value]]:
    """Return the condition as text, and the values of its parameters."""
    twice = named.keys() & parameters.keys()
    if twice:
        raise ValueError(f"given twice: {', '.join(sorted(twice))}")
    values = {**named, **parameters}
    if isinstance(expression, str):
        for name in named:
            if f":{name}" not in expression:
                raise TypeError(f"a Query has no argument {name}, and its expression no :{name}")
        return expression, values
    if values:
        raise ValueError(
            f"a condition brings its own parameters; {', '.join(values)} cannot be added"
        )
    text, rendered = render(expression)
    return text, cast("dict[str, Value]", rendered)


def _encoded(name: str, value: Value) -> AttributeValue:
    with check.error_prefix(f":{name}"):
        return encode(value)
