"""Derives proposals for a table's catalog entry from sampled items; an operator confirms them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import Any, Final

from dynamodb_processor_server.catalog.key_templates import KeyTemplate
from dynamodb_processor_server.catalog.schema import KeyAttribute, TableSchema
from dynamodb_processor_server.catalog.timestamps import FORMS, TimestampForm
from dynamodb_processor_server.query.expression.values import WireItem

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
_MAX_SORT_KEY_BYTES: Final = 1024
# Numbers are taken for times if they mean one between 2000 and 2100.
_FIRST_SECOND: Final = 946_684_800
_LAST_SECOND: Final = 4_102_444_800
_SEPARATOR: Final = "#"
_LITERAL: Final = re.compile(r"[A-Z][A-Z_-]*")
_NOT_IN_A_NAME: Final = re.compile(r"[^a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Template:
    """A template that fits `matching` of the `values` sampled values of a key attribute."""

    attribute: str
    text: str
    matching: int
    values: int


@dataclass(frozen=True, slots=True)
class Proposals:
    """Proposals for a table's catalog entry.

    Attributes:
        required: Sort attributes of indexes that every sampled item has, with a valid value.
        lacking: The other sort attributes, each with the number of sampled items without it.
        timestamps: Attributes whose sampled values are all times in one form.
        templates: Key attributes whose values are composed of other values.
        attributes: All sampled attributes, with the types of their values.
    """

    required: tuple[str, ...]
    lacking: dict[str, int]
    timestamps: dict[str, str]
    templates: tuple[Template, ...]
    attributes: dict[str, str]


def propose(schema: TableSchema, items: Sequence[WireItem]) -> Proposals:
    """Return proposals from items of a table; without items there are none."""
    base = {attribute.name for attribute in schema.base.key.attributes}
    lacking: dict[str, int] = {}
    for path in schema.paths[1:]:
        # A partition attribute needs no check: a query that fixes it finds only items that have it.
        for attribute in path.key.sort:
            if attribute.name not in base:
                lacking[attribute.name] = sum(not _is_sort_key(item, attribute) for item in items)
    types: dict[str, set[str]] = {}
    for item in items:
        for name, value in item.items():
            types.setdefault(name, set()).update(value)
    keys = schema.key_types
    return Proposals(
        required=tuple(name for name, count in lacking.items() if items and not count),
        lacking={name: count for name, count in lacking.items() if count},
        timestamps=dict(_timestamps(items, types)),
        templates=tuple(_templates(keys, items, types.keys())),
        attributes={name: " or ".join(sorted(found)) for name, found in sorted(types.items())},
    )


def _is_sort_key(item: WireItem, attribute: KeyAttribute) -> bool:
    """Return whether an item has a valid value of this attribute for an index to hold it."""
    value: Any = item.get(attribute.name, {}).get(attribute.type)
    if value is None or attribute.type == "N":
        return value is not None
    data = value.encode() if isinstance(value, str) else value
    return 0 < len(data) <= _MAX_SORT_KEY_BYTES


def _timestamps(items: Sequence[WireItem], types: dict[str, set[str]]) -> Iterable[tuple[str, str]]:
    for name, found in sorted(types.items()):
        if len(found) != 1:
            continue
        values = [item[name] for item in items if name in item]
        for form in FORMS.values():
            if all(_is_time(value, form) for value in values):
                yield name, form.name
                break


def _is_time(value: Any, form: TimestampForm) -> bool:
    text = value.get(form.type)
    if text is None:
        return False
    if form.is_text:
        return form.is_stored(text)
    number = Decimal(text)
    seconds = number.scaleb(-form.digits)
    return number == number.to_integral_value() and _FIRST_SECOND <= seconds <= _LAST_SECOND


def _templates(
    keys: dict[str, str], items: Sequence[WireItem], attributes: Collection[str]
) -> Iterable[Template]:
    taken = {*keys, *attributes}
    for name, kind in keys.items():
        values = [item[name]["S"] for item in items if "S" in item.get(name, {})]
        if kind != "S" or not values:
            continue
        shapes = Counter(filter(None, map(_shape, values)))
        if not shapes:
            continue
        shape, _ = shapes.most_common(1)[0]
        text = _template_of(name, shape, taken)
        template = KeyTemplate.parse(name, text, {})
        matching = sum(template.decompose(value) is not None for value in values)
        taken.update(field.name for field in template.fields)
        yield Template(name, text, matching, len(values))


def _shape(value: str) -> tuple[str, ...] | None:
    """Return a value's parts, with "" for fields; None if it has no fixed part, or no field."""
    parts = value.split(_SEPARATOR)
    shape = tuple(part if _LITERAL.fullmatch(part) else "" for part in parts)
    composed = any(shape) and not all(shape) and all(parts)
    return shape if composed else None


def _template_of(attribute: str, shape: tuple[str, ...], taken: Collection[str]) -> str:
    """Return the template of a shape; a field is named after the fixed part before it."""
    parts: list[str] = []
    used = set(taken)
    stem = _as_name(attribute)
    for part in shape:
        if part:
            stem = _as_name(part)
            parts.append(part)
            continue
        follows_field = bool(parts) and parts[-1].startswith("{")
        names = _field_names(attribute, stem, follows_field=follows_field)
        name = next(name for name in names if name not in used)
        used.add(name)
        parts.append(f"{{{name}}}")
    return _SEPARATOR.join(parts)


def _field_names(attribute: str, stem: str, *, follows_field: bool) -> Iterator[str]:
    """Yield names for a field until one is unused by attributes and other fields."""
    if not follows_field:
        yield from (f"{stem}_id", stem, f"{_as_name(attribute)}_{stem}")
    yield from (f"{stem}_{number}" for number in count(2))


def _as_name(text: str) -> str:
    return _NOT_IN_A_NAME.sub("_", text.lower())
