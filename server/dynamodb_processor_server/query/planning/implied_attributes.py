"""What a condition says of the items that meet it, as far as indexes may leave items out.

An index holds an item only if each attribute of the index's key has a value that can be a key: of
the key's type, not empty, and not too long. DynamoDB refuses to write other values, but only once
the index exists. A local index is made with its table, so an attribute of its key can be missing
and nothing else. A global index may be younger than its items; items written before may have any
value there, and the index leaves them out silently.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.OnlineOps.ViolationDetection.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dynamodb_processor_server.catalog.key_templates import KeyTemplate
from dynamodb_processor_server.catalog.schema import AccessPath, KeyAttribute, PathKind, Table
from dynamodb_processor_server.query.expression.ast import (
    And,
    Between,
    Comparison,
    Condition,
    Function,
    In,
    Literal,
    Not,
    NotExpired,
    Operand,
    Or,
    Path,
    Size,
    operands,
)
from dynamodb_processor_server.query.planning.attribute_bounds import (
    MAX_PARTITION_BYTES,
    MAX_SORT_BYTES,
    choice_of,
    is_key_value,
)

_UTF8_BYTES = 4  # of one character, at most


def proven_keys(path: AccessPath, terms: Sequence[Condition], table: Table) -> frozenset[str]:
    """Return the key attributes that every item which meets all of `terms` has as a valid key.

    Valid is what a path holds items by. What the catalog requires is not looked at.
    """
    checked = _checked_when_written(table)
    implied = {name for term in terms for name in implied_attributes(term)}
    sources = map(table.view.sources, implied)
    present = {found[0] for found in sources if len(found) == 1}

    def is_proven(attribute: KeyAttribute) -> bool:
        if attribute.name in checked:
            return attribute.name in present
        limit = MAX_PARTITION_BYTES if attribute in path.key.partition else MAX_SORT_BYTES
        return any(_implies_key(term, attribute, limit) for term in terms) or _implies_composed_key(
            attribute, limit, implied, terms, table
        )

    return frozenset(attribute.name for attribute in path.key.attributes if is_proven(attribute))


def _checked_when_written(table: Table) -> frozenset[str]:
    """Return the attributes that no item has with a value that cannot be a key."""
    return frozenset(
        attribute.name
        for path in table.schema.paths
        if path.kind is not PathKind.GLOBAL
        for attribute in path.key.attributes
    )


def _implies_key(condition: Condition, attribute: KeyAttribute, limit: int) -> bool:
    """Return whether every item that meets a condition has an attribute as a valid key.

    Equality says what the value is. An order of numbers says that it is a number, which is all a
    number needs. An order of texts or a prefix says nothing of the length.
    """
    match condition:
        case And(terms):
            return any(_implies_key(term, attribute, limit) for term in terms)
        case Or(terms):
            return all(_implies_key(term, attribute, limit) for term in terms)
        case Comparison(operator, left, right) if operator != "<>":
            is_equal = operator == "="
            return _is_key_beside(left, right, attribute, limit, is_equal=is_equal) or (
                _is_key_beside(right, left, attribute, limit, is_equal=is_equal)
            )
        case Between(operand, low, high):
            return any(
                _is_key_beside(one, other, attribute, limit, is_equal=False)
                for end in (low, high)
                for one, other in ((operand, end), (end, operand))
            )
        case In(operand, options):
            return all(
                _is_key_beside(operand, option, attribute, limit, is_equal=True)
                or _is_key_beside(option, operand, attribute, limit, is_equal=True)
                for option in options
            )
        case Function("attribute_type", Path((name,)), Literal(value)) if name == attribute.name:
            return attribute.type == "N" and value.data == "N"
    return False


def _is_key_beside(
    subject: Operand, other: Operand, attribute: KeyAttribute, limit: int, *, is_equal: bool
) -> bool:
    """Return whether an attribute that compares with `other` is a valid key."""
    if not isinstance(subject, Path) or subject.parts != (attribute.name,):
        return False
    if isinstance(other, Size):
        return attribute.type == "N"
    if not isinstance(other, Literal) or other.value.type != attribute.type:
        return False
    return attribute.type == "N" or (is_equal and is_key_value(other.value, limit))


def _implies_composed_key(
    attribute: KeyAttribute,
    limit: int,
    implied: Iterable[str],
    terms: Sequence[Condition],
    table: Table,
) -> bool:
    """Return whether fields of an attribute's template say that it is a valid key.

    An item with a field that no other key is made of has the key, which may still be too long.
    """
    template = attribute.template
    if template is None or not any(
        table.view.sources(name) == (attribute.name,) for name in implied
    ):
        return False
    length = _longest(template, terms)
    return length is not None and length <= limit


def _longest(template: KeyTemplate, terms: Sequence[Condition]) -> int | None:
    """Return the most bytes that a composed key has, None if a field may have any length."""
    total = 0
    for part in template.parts:
        if isinstance(part, str):
            total += len(part.encode())
        elif (choice := choice_of(part.name, terms, "S")) is not None:
            total += max((len(value.order) for value in choice.values), default=0)
        elif part.width is not None:
            total += part.width * _UTF8_BYTES
        else:
            return None
    return total


def implied_attributes(condition: Condition | None) -> frozenset[str]:
    """Return attributes without which no item meets the condition.

    A missing attribute fails every comparison but `<>`, and every function but
    `attribute_not_exists`.
    """
    match condition:
        case None | Not() | NotExpired():
            return frozenset()
        case And(terms):
            return frozenset().union(*(implied_attributes(term) for term in terms))
        case Or(terms):
            sets = [implied_attributes(term) for term in terms]
            return sets[0].intersection(*sets[1:])
        case Comparison("<>", _, _) | Function("attribute_not_exists"):
            return frozenset()
        case Comparison() | Function():
            return frozenset(filter(None, map(_attribute, operands(condition))))
        case _:  # BETWEEN and IN: only the first operand is needed by every way to hold
            name = _attribute(operands(condition)[0])
            return frozenset() if name is None else frozenset((name,))


def _attribute(operand: Operand) -> str | None:
    match operand:
        case Path():
            return operand.attribute
        case Size(Path() as path):
            return path.attribute
    return None
