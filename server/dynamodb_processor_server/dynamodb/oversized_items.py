"""Names items that are too large for a message by their keys."""

from __future__ import annotations

from typing import Final

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.query.expression.ast import Literal, Path
from dynamodb_processor_server.query.expression.formatter import ExpressionFormatter
from dynamodb_processor_server.query.expression.values import WireItem, from_wire
from dynamodb_processor_server.query.planning.plan import ResultProjection
from dynamodb_processor_server.query.planning.projection import apply_projection

#: Bytes of the largest item that is sent: gRPC clients accept messages of 4 MiB by default.
MAX_ITEM_BYTES: Final = 4_000_000
_MAX_SHOWN: Final = 60  # characters of a value in an error


def key_text(table: Table, item: WireItem) -> str:
    """Return an item's key as an expression, without the attributes that the table hides."""
    names = [name for attribute in table.schema.base.key.attributes for name in attribute.fields]
    view = None if table.view.is_identity else table.view
    shown = apply_projection(
        item, ResultProjection(frozenset(filter(table.may_show, names)), view=view)
    )
    printer = ExpressionFormatter()
    texts = [
        f"{Path((name,))} = {printer.operand(Literal(from_wire(shown[name])))[:_MAX_SHOWN]}"
        for name in names
        if name in shown
    ]
    return " AND ".join(texts) or "whose key is not granted"
