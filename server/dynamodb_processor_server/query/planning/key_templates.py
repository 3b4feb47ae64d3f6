"""Derives conditions on stored keys from conditions on the fields of their templates.

They only narrow the read: the conditions on the fields are still evaluated on each item.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import TypeAlias

from dynamodb_processor_server.catalog.key_templates import KeyTemplate, TemplateField
from dynamodb_processor_server.catalog.schema import KeySchema
from dynamodb_processor_server.query.expression.ast import (
    Comparison,
    ComparisonOperator,
    Condition,
    Function,
    In,
    Literal,
    Path,
)
from dynamodb_processor_server.query.expression.symbolic import decide, derive
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.attribute_bounds import (
    MAX_SORT_BYTES,
    Bound,
    bounds_of,
    choice_of,
    each_bound,
    prefix_of,
)

# More combinations than this exceed the partitions of a query, so they are not composed.
_MAX_COMPOSED = 1_000
_LAST_CHARACTER = chr(0x10FFFF)

# The beginning of a stored key: texts of the template, and values of its fields.
_Texts: TypeAlias = tuple[str | Value, ...]


@dataclass(frozen=True, slots=True)
class DerivedKeyCondition:
    """Conditions on one stored key, with the conditions on fields that they are derived from.

    `is_exact` means that every item with such a key also meets all of `sources`.
    """

    terms: tuple[Condition, ...] = ()
    sources: frozenset[Condition] = frozenset()
    is_exact: bool = False


def derived_key_conditions(
    key: KeySchema, terms: Sequence[Condition]
) -> tuple[DerivedKeyCondition, ...]:
    """Return the conditions that `terms` imply for each attribute of a key with a template.

    A field may belong to an earlier attribute of the same key too. Then it is also a field of items
    whose sort key has another form: `PK = "USER#{id}"` gives the field to a user and to the items
    beside the user. So a sort attribute needs a condition on a field that it alone has. The
    partition attributes must all be fixed, and no query reads a partition that no fields name.
    """
    found: list[DerivedKeyCondition] = []
    shared: set[str] = set()
    for attribute in key.attributes:
        template = attribute.template
        if template is None:
            continue
        exclusive = [field for field in template.fields if field.name not in shared]
        derived = DerivedKeyCondition()
        if attribute in key.partition:
            derived = _derived_choice(template, terms)
        elif any(_is_fixed_or_bounded(field, terms) for field in exclusive):
            derived = _derived_range(template, terms)
        shared.update(attribute.fields)
        found.append(replace(derived, is_exact=derived.is_exact and attribute.is_decisive))
    return tuple(found)


def unfixed_fields(template: KeyTemplate, terms: Sequence[Condition]) -> list[str]:
    """Return the fields of a template that `terms` do not fix by equality."""
    return [field.name for field in template.fields if choice_of(field.name, terms, "S") is None]


def _derived_choice(template: KeyTemplate, terms: Sequence[Condition]) -> DerivedKeyCondition:
    """Return the condition that a partition key is one of those composed of its fields' values."""
    choices = [choice_of(field.name, terms, "S") for field in template.fields]
    fixed = [choice for choice in choices if choice is not None]
    if len(fixed) < len(choices) or prod(len(choice.values) for choice in fixed) > _MAX_COMPOSED:
        return DerivedKeyCondition()
    options = tuple(
        Literal(derive(_composed, template, *values))
        for values in product(*(choice.values for choice in fixed))
        if _can_compose(template, values)
    )
    sources = frozenset().union(*(choice.sources for choice in fixed))
    return DerivedKeyCondition((In(Path((template.attribute,)), options),), sources, is_exact=True)


def _can_compose(template: KeyTemplate, values: Iterable[Value]) -> bool:
    return all(
        rejection_reason(template, field, value) is None
        for field, value in zip(template.fields, values, strict=True)
    )


def _composed(template: KeyTemplate, *values: Value) -> Value:
    """Return the stored key that has these values in the template's fields."""
    names = (field.name for field in template.fields)
    texts = (value.data for value in values)
    return Value("S", template.compose(dict(zip(names, texts, strict=True))))


def rejection_reason(template: KeyTemplate, field: TemplateField, value: Value) -> str | None:
    """Return the reason why a field of a template cannot have a value, None if it can."""
    return decide(_rejection_reason, template, field, value)


def _rejection_reason(template: KeyTemplate, field: TemplateField, value: Value) -> str | None:
    return template.rejection_reason(field, value.data)


def _derived_range(template: KeyTemplate, terms: Sequence[Condition]) -> DerivedKeyCondition:
    """Return a range of a sort key that includes every key which meets the fields' conditions.

    Fields are followed from left to right while each has one value. If one has no value, the key's
    conditions contradict each other, as the field's conditions do.
    """
    prefix: _Texts = ()
    sources: set[Condition] = set()
    for part in template.parts:
        if isinstance(part, str):
            prefix += (part,)
            continue
        choice = choice_of(part.name, terms, "S")
        if choice is None or len(choice.values) != 1:
            if choice is not None and not choice.values:
                return DerivedKeyCondition(
                    (_comparison(template, "=", ("0",)), _comparison(template, "=", ("1",)))
                )
            # A prefix without a field must not narrow the read: items of other kinds lack it, and
            # the query includes them unless it has a condition on this field.
            if not sources and choice is None and not _is_bounded(part, terms):
                return DerivedKeyCondition()
            bounds = _range_of_field(template, part, prefix, terms)
            return DerivedKeyCondition(bounds.terms, bounds.sources | sources)
        prefix += choice.values
        sources |= choice.sources
    return DerivedKeyCondition(
        (_comparison(template, "=", prefix),), frozenset(sources), is_exact=True
    )


def _is_fixed_or_bounded(field: TemplateField, terms: Sequence[Condition]) -> bool:
    return choice_of(field.name, terms, "S") is not None or _is_bounded(field, terms)


def _is_bounded(field: TemplateField, terms: Sequence[Condition]) -> bool:
    return prefix_of(field.name, terms, "S") is not None or any(each_bound(field.name, terms, "S"))


def _range_of_field(
    template: KeyTemplate, field: TemplateField, prefix: _Texts, terms: Sequence[Condition]
) -> DerivedKeyCondition:
    """Return the range of keys that begin with `prefix`, followed by a field within its bounds.

    A field sorts in the key as it does alone only if it has a fixed width or is the last part:
    `a!#1` comes before `a#2`, though `a` comes before `a!`.
    """
    begins = prefix_of(field.name, terms, "S")
    if begins is not None and isinstance(begins.argument, Literal):
        texts = (*prefix, begins.argument.value)
        return DerivedKeyCondition((_begins_with(template, texts),), frozenset((begins,)))
    is_last = template.parts[-1] == field
    bounds = bounds_of(field.name, terms, "S")
    if not (field.width or is_last) or not (bounds.lower or bounds.upper):
        return DerivedKeyCondition((_begins_with(template, prefix),) if prefix else ())
    found: list[Condition] = []
    if bounds.lower is not None:
        texts = (*prefix, bounds.lower.value)
        found.append(_comparison(template, bounds.lower.operator, texts))
    elif prefix:
        found.append(_comparison(template, ">=", prefix))
    if bounds.upper is not None:
        found.append(_upper(template, field, bounds.upper, prefix))
    elif prefix:
        found.append(_before_successor(template, prefix))
    return DerivedKeyCondition(tuple(found), frozenset(bounds.sources))


def _upper(template: KeyTemplate, field: TemplateField, upper: Bound, prefix: _Texts) -> Condition:
    operator, value = upper.operator, upper.value
    if field.width is not None and decide(_is_longer, value, field.width):
        # A value truncated here comes before the bound, with any text after it in the key.
        operator, value = "<=", derive(_truncated, value, field.width)
    if operator == "<" or template.parts[-1] == field:
        return _comparison(template, operator, (*prefix, value))
    return _before_successor(template, (*prefix, value))


def _is_longer(value: Value, characters: int) -> bool:
    return len(value.data) > characters


def _truncated(value: Value, characters: int) -> Value:
    return Value("S", value.data[:characters])


def _successor(text: str) -> str:
    """Return the first text after all texts that begin with `text`."""
    head = text.rstrip(_LAST_CHARACTER)
    if not head:
        return _LAST_CHARACTER * (MAX_SORT_BYTES // 4)  # no key comes after this one
    code = ord(head[-1]) + 1
    return head[:-1] + chr(0xE000 if code == 0xD800 else code)  # surrogates are not characters


def _comparison(template: KeyTemplate, operator: ComparisonOperator, texts: _Texts) -> Condition:
    return Comparison(operator, Path((template.attribute,)), Literal(derive(_joined, *texts)))


def _before_successor(template: KeyTemplate, texts: _Texts) -> Condition:
    """Return the condition that a key comes before, or begins with, the joined texts."""
    successor = Literal(derive(_joined_successor, *texts))
    return Comparison("<", Path((template.attribute,)), successor)


def _begins_with(template: KeyTemplate, texts: _Texts) -> Condition:
    return Function("begins_with", Path((template.attribute,)), Literal(derive(_joined, *texts)))


def _joined(*texts: str | Value) -> Value:
    return Value("S", "".join(text if isinstance(text, str) else text.data for text in texts))


def _joined_successor(*texts: str | Value) -> Value:
    return Value("S", _successor(_joined(*texts).data))
