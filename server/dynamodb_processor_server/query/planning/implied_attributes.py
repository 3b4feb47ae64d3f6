"""Finds the attributes that an item has if it meets a condition, because an index may lack items.

An index has an item only if each attribute of the index's key has a value that can be a key: of the
key's type, not empty, and not too long. DynamoDB refuses to write other values once the index
exists. A local index is created with its table, so an attribute of its key can be missing, but it
cannot be invalid. A global index may be newer than its items. Older items may have any value there,
and the index leaves them out without an error.
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
from dynamodb_processor_server.query.expression.symbolic import decide
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.attribute_bounds import (
    MAX_PARTITION_BYTES,
    MAX_SORT_BYTES,
    choice_of,
    is_key_value,
)

_UTF8_BYTES = 4  # the most bytes of one character


def proven_keys(path: AccessPath, terms: Sequence[Condition], table: Table) -> frozenset[str]:
    """Return the key attributes that are a valid key in every item which meets all of `terms`.

    A path has an item only if its key is valid. Attributes that the catalog requires are ignored.
    """
    checked = _attributes_checked_on_write(table)
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


def _attributes_checked_on_write(table: Table) -> frozenset[str]:
    """Return the attributes that in no item have a value that cannot be a key."""
    return frozenset(
        attribute.name
        for path in table.schema.paths
        if path.kind is not PathKind.GLOBAL
        for attribute in path.key.attributes
    )


def _implies_key(condition: Condition, attribute: KeyAttribute, limit: int) -> bool:
    """Return whether an attribute is a valid key in every item that meets a condition.

    Equality fixes the value. An order of numbers implies a number, and every number is a valid key.
    An order of texts, or a prefix, does not bound the length.
    """
    match condition:
        case And(terms):
            return any(_implies_key(term, attribute, limit) for term in terms)
        case Or(terms):
            return all(_implies_key(term, attribute, limit) for term in terms)
        case Comparison(operator, left, right) if operator != "<>":
            is_equal = operator == "="
            return _comparison_implies_key(left, right, attribute, limit, is_equal=is_equal) or (
                _comparison_implies_key(right, left, attribute, limit, is_equal=is_equal)
            )
        case Between(operand, low, high):
            return any(
                _comparison_implies_key(one, other, attribute, limit, is_equal=False)
                for end in (low, high)
                for one, other in ((operand, end), (end, operand))
            )
        case In(operand, options):
            return all(
                _comparison_implies_key(operand, option, attribute, limit, is_equal=True)
                or _comparison_implies_key(option, operand, attribute, limit, is_equal=True)
                for option in options
            )
        case Function("attribute_type", Path((name,)), Literal(value)) if name == attribute.name:
            return attribute.type == "N" and decide(_names_numbers, value)
    return False


def _names_numbers(value: Value) -> bool:
    return bool(value.data == "N")


def _comparison_implies_key(
    subject: Operand, other: Operand, attribute: KeyAttribute, limit: int, *, is_equal: bool
) -> bool:
    """Return whether comparing an attribute with `other` implies that it is a valid key."""
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
    """Return whether conditions on template fields imply that an attribute is a valid key.

    An item with a field that belongs to no other key has this key, but the key may be too long.
    """
    template = attribute.template
    if template is None or not any(
        table.view.sources(name) == (attribute.name,) for name in implied
    ):
        return False
    return _is_composed_within(template, limit, terms)


def _is_composed_within(template: KeyTemplate, limit: int, terms: Sequence[Condition]) -> bool:
    """Return whether a composed key has `limit` bytes at most; a field may have any length."""
    choices: list[tuple[Value, ...]] = []
    for part in template.parts:
        if isinstance(part, str):
            limit -= len(part.encode())
        elif (choice := choice_of(part.name, terms, "S")) is not None:
            choices.append(choice.values)
        elif part.width is not None:
            limit -= part.width * _UTF8_BYTES
        else:
            return False
    return decide(_are_within, limit, *choices)


def _are_within(limit: int, *choices: tuple[Value, ...]) -> bool:
    """Return whether the longest values of all choices have `limit` bytes at most together."""
    return limit >= sum(
        max((len(value.order) for value in values), default=0) for values in choices
    )


def implied_attributes(condition: Condition | None) -> frozenset[str]:
    """Return the attributes that every item has if it meets the condition.

    A missing attribute fails every comparison except `<>`, and every function except
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
        case _:  # BETWEEN and IN: only the first operand is always needed
            name = _attribute(operands(condition)[0])
            return frozenset() if name is None else frozenset((name,))


def _attribute(operand: Operand) -> str | None:
    match operand:
        case Path():
            return operand.attribute
        case Size(Path() as path):
            return path.attribute
    return None
