"""Which conditions on stored keys follow from conditions on the fields of their templates.

They only narrow what is read: the conditions on the fields are evaluated on each item all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

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
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.attribute_bounds import (
    MAX_SORT_BYTES,
    Bound,
    bounds_of,
    choice_of,
    each_bound,
    prefix_of,
)

# More stored keys than a query may read partitions of are not worked out one by one.
_MAX_COMPOSED = 1_000
_LAST_CHARACTER = chr(0x10FFFF)


@dataclass(frozen=True, slots=True)
class Derived:
    """Conditions on one stored key, and the conditions on fields that they are made of.

    `is_exact` says that whatever has such a key also meets all of `sources`.
    """

    terms: tuple[Condition, ...] = ()
    sources: frozenset[Condition] = frozenset()
    is_exact: bool = False


def derived_terms(key: KeySchema, terms: Sequence[Condition]) -> tuple[Derived, ...]:
    """Return what `terms` say of each of a key's attributes that has a template.

    A field that another attribute of the same key is made of, one before it, is a field of items
    whose sort attribute is of another form as well: `PK = "USER#{id}"` gives the field to a user
    and to what lies beside it. So of a sort attribute something must be said of a field that only
    this attribute has. Partition attributes must all be fixed, and what lies in partitions that no
    fields name is asked for by none.
    """
    found: list[Derived] = []
    shared: set[str] = set()
    for attribute in key.attributes:
        template = attribute.template
        if template is None:
            continue
        own = [field for field in template.fields if field.name not in shared]
        derived = Derived()
        if attribute in key.partition:
            derived = _whole(template, terms)
        elif any(_is_fixed_or_bounded(field, terms) for field in own):
            derived = _range(template, terms)
        shared.update(attribute.fields)
        found.append(replace(derived, is_exact=derived.is_exact and attribute.is_decisive))
    return tuple(found)


def unfixed_fields(template: KeyTemplate, terms: Sequence[Condition]) -> list[str]:
    """Return the fields of a template that `terms` do not fix by equality."""
    return [field.name for field in template.fields if choice_of(field.name, terms, "S") is None]


def _whole(template: KeyTemplate, terms: Sequence[Condition]) -> Derived:
    """Return the condition that a partition key is one of those that its fields' values make."""
    choices = [choice_of(field.name, terms, "S") for field in template.fields]
    fixed = [choice for choice in choices if choice is not None]
    if len(fixed) < len(choices) or prod(len(choice.values) for choice in fixed) > _MAX_COMPOSED:
        return Derived()
    names = [field.name for field in template.fields]
    keys = [
        dict(zip(names, (value.data for value in values), strict=True))
        for values in product(*(choice.values for choice in fixed))
    ]
    options = tuple(_literal(template.compose(key)) for key in keys if _fits(template, key))
    sources = frozenset().union(*(choice.sources for choice in fixed))
    return Derived((In(Path((template.attribute,)), options),), sources, is_exact=True)


def _fits(template: KeyTemplate, values: Mapping[str, str]) -> bool:
    return all(
        template.rejection_reason(field, values[field.name]) is None for field in template.fields
    )


def _range(template: KeyTemplate, terms: Sequence[Condition]) -> Derived:
    """Return the range of a sort key in which everything lies that the fields' conditions allow.

    Fields are followed from left to right as long as each has one value. Where one has none, the
    key's conditions contradict each other as the field's do.
    """
    prefix = ""
    sources: set[Condition] = set()
    for part in template.parts:
        if isinstance(part, str):
            prefix += part
            continue
        choice = choice_of(part.name, terms, "S")
        if choice is None or len(choice.values) != 1:
            if choice is not None and not choice.values:
                return Derived((_compared(template, "=", "0"), _compared(template, "=", "1")))
            # A prefix that no field is part of says nothing: items of other kinds lack it, and are
            # asked for as well, unless something is said of this field.
            if not sources and choice is None and not _is_bounded(part, terms):
                return Derived()
            bounds = _bounded(template, part, prefix, terms)
            return Derived(bounds.terms, bounds.sources | sources)
        prefix += choice.values[0].data
        sources |= choice.sources
    return Derived((_compared(template, "=", prefix),), frozenset(sources), is_exact=True)


def _is_fixed_or_bounded(field: TemplateField, terms: Sequence[Condition]) -> bool:
    return choice_of(field.name, terms, "S") is not None or _is_bounded(field, terms)


def _is_bounded(field: TemplateField, terms: Sequence[Condition]) -> bool:
    return prefix_of(field.name, terms, "S") is not None or any(each_bound(field.name, terms, "S"))


def _bounded(
    template: KeyTemplate, field: TemplateField, prefix: str, terms: Sequence[Condition]
) -> Derived:
    """Return the range of keys that begin with `prefix` and go on with a field within its bounds.

    Only a field of one width, or at the end, sorts in the key as it does by itself: `a!#1` comes
    before `a#2`, though `a` comes before `a!`.
    """
    begins = prefix_of(field.name, terms, "S")
    if begins is not None and isinstance(begins.argument, Literal):
        text = prefix + begins.argument.value.data
        return Derived((_begins(template, text),), frozenset((begins,)))
    is_last = template.parts[-1] == field
    bounds = bounds_of(field.name, terms, "S")
    if not (field.width or is_last) or not (bounds.lower or bounds.upper):
        return Derived((_begins(template, prefix),)) if prefix else Derived()
    found: list[Condition] = []
    if bounds.lower is not None:
        found.append(_compared(template, bounds.lower.operator, prefix + _text(bounds.lower.value)))
    elif prefix:
        found.append(_compared(template, ">=", prefix))
    if bounds.upper is not None:
        found.append(_upper(template, field, bounds.upper, prefix))
    elif prefix:
        found.append(_compared(template, "<", _successor(prefix)))
    return Derived(tuple(found), frozenset(bounds.sources))


def _upper(template: KeyTemplate, field: TemplateField, upper: Bound, prefix: str) -> Condition:
    operator, value = upper.operator, _text(upper.value)
    if field.width is not None and len(value) > field.width:
        # A value that is cut off here comes before the bound, whatever follows it in the key.
        operator, value = "<=", value[: field.width]
    if operator == "<" or template.parts[-1] == field:
        return _compared(template, operator, prefix + value)
    return _compared(template, "<", _successor(prefix + value))


def _successor(text: str) -> str:
    """Return the first text after all those that begin with `text`."""
    head = text.rstrip(_LAST_CHARACTER)
    if not head:
        return _LAST_CHARACTER * (MAX_SORT_BYTES // 4)  # no key comes after this one
    code = ord(head[-1]) + 1
    return head[:-1] + chr(0xE000 if code == 0xD800 else code)  # surrogates are no characters


def _compared(template: KeyTemplate, operator: ComparisonOperator, text: str) -> Condition:
    return Comparison(operator, Path((template.attribute,)), _literal(text))


def _begins(template: KeyTemplate, text: str) -> Condition:
    return Function("begins_with", Path((template.attribute,)), _literal(text))


def _literal(text: str) -> Literal:
    return Literal(Value("S", text))


def _text(value: Value) -> str:
    return str(value.data)
