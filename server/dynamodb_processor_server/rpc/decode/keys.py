"""Converts keys in requests, given in logical attributes, to the stored keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from dynamodb_processor.v1.value_pb2 import Item
from dynamodb_processor_server.catalog.key_templates import KeyTemplate
from dynamodb_processor_server.catalog.schema import AccessPath, KeyAttribute, PathKind, Table
from dynamodb_processor_server.catalog.timestamps import parse_instant
from dynamodb_processor_server.query.expression.values import TYPE_NAMES, Value
from dynamodb_processor_server.query.planning.attribute_bounds import (
    MAX_PARTITION_BYTES,
    MAX_SORT_BYTES,
)
from dynamodb_processor_server.query.planning.tags import Partition
from dynamodb_processor_server.rpc.decode.values import ValueCounter, value_of
from dynamodb_processor_server.rpc.decode.violations import Violations

# A key has up to eight attributes, each of which may be composed of a few fields.
_MAX_ATTRIBUTES: Final = 64

# A written attribute may be part of the table's key and of the partition keys of twenty global
# indexes, each of up to four attributes.
_MAX_PARTITION_ATTRIBUTES: Final = 512


def parse_key(
    message: Item, field: str, table: Table, counter: ValueCounter, violations: Violations
) -> tuple[Value, ...]:
    """Return a key's values in the order of the key schema, adding violations under `field`.

    All keys of a request share `counter`.
    """
    if not _has_few_attributes(message, _MAX_ATTRIBUTES, field, violations):
        return ()
    attributes = table.schema.base.key.attributes
    names = dict.fromkeys(name for attribute in attributes for name in attribute.fields)
    expected = ", ".join(sorted(names))
    for name in sorted(message.attributes.keys() - names.keys()):
        violations.add(field, f"{name[:60]} is not part of the key, which is {expected}")
    given: dict[str, Value] = {}
    for name in names:
        if name not in message.attributes:
            violations.add(field, f"{name} is missing; the key is {expected}")
            continue
        try:
            given[name] = _stored_value(name, value_of(message.attributes[name], counter), table)
        except ValueError as error:
            violations.add(f"{field}.{name}", str(error))
    return tuple(
        value
        for attribute in attributes
        if (value := _key_value(attribute, given, field, _longest(attribute, table), violations))
        is not None
    )


def _has_few_attributes(message: Item, limit: int, field: str, violations: Violations) -> bool:
    """Return whether a key has at most `limit` attributes; add a violation if it has more."""
    count = len(message.attributes)
    if count > limit:
        violations.add(field, f"has {count} attributes; keys have at most {limit}")
    return count <= limit


def parse_partitions(
    message: Item, field: str, table: Table, written: Iterable[AccessPath], violations: Violations
) -> tuple[Partition, ...]:
    """Return the partitions, of the table and its global indexes, that the values of `message` fix.

    `table` is the table as its caller may see it, `written` are all paths that a write may reach.
    Violations are added under `field`. A value that takes part in no partition is one.
    """
    given: dict[str, Value] = {}
    counter = ValueCounter()
    if not _has_few_attributes(message, _MAX_PARTITION_ATTRIBUTES, field, violations):
        violations.raise_any()
    for name in sorted(message.attributes):
        try:
            given[name] = _stored_value(name, value_of(message.attributes[name], counter), table)
        except ValueError as error:
            violations.add(f"{field}.{name[:60]}", str(error))
    violations.raise_any()
    paths = [path for path in written if path.kind is not PathKind.LOCAL]
    found: list[Partition] = []
    unused = set(given)
    for path in paths:
        attributes = [_as_given(attribute, given, table) for attribute in path.key.partition]
        if None in attributes:
            continue
        values = [
            _key_value(attribute, given, field, MAX_PARTITION_BYTES, violations)
            for attribute in attributes
            if attribute is not None
        ]
        unused.difference_update(n for one in attributes if one is not None for n in one.fields)
        found.append((path, tuple(value for value in values if value is not None)))
    known = "; ".join(dict.fromkeys(filter(None, (_partition_key(path, table) for path in paths))))
    for name in sorted(unused):
        violations.add(field, f"{name[:60]} fixes no partition; partition keys are: {known}")
    if not given:
        violations.add(field, f"has no attributes; partition keys are: {known}")
    return tuple(found)


def _as_given(
    attribute: KeyAttribute, given: Mapping[str, Value], table: Table
) -> KeyAttribute | None:
    """Return an attribute that was given, itself or by its template's fields; else None."""
    if attribute.name in given and table.may_show(attribute.name):
        return replace(attribute, template=None)
    by_fields = all(name in given and table.may_show(name) for name in attribute.fields)
    return attribute if by_fields else None


def _partition_key(path: AccessPath, table: Table) -> str:
    """Return the attributes by which callers fix a partition, empty where they may not see them."""
    names = [name for attribute in path.key.partition for name in attribute.fields]
    return " and ".join(names) if all(map(table.may_show, names)) else ""


def _longest(attribute: KeyAttribute, table: Table) -> int:
    partition = attribute in table.schema.base.key.partition
    return MAX_PARTITION_BYTES if partition else MAX_SORT_BYTES


def _stored_value(name: str, value: Value, table: Table) -> Value:
    """Return the stored form of a value; raise ValueError where it has none."""
    form = table.view.timestamps.get(name)
    if form is None or not table.may_show(name):
        return value
    if value.type != "S":
        raise ValueError("is no RFC 3339 time, such as 2026-01-31T08:00:00Z")
    stored, exact = form.to_stored(parse_instant(value.data))
    if not exact:
        raise ValueError(f"is more exact than the times that are stored, {form.name}")
    return Value(form.type, stored)


def _key_value(
    attribute: KeyAttribute,
    given: Mapping[str, Value],
    field: str,
    longest: int,
    violations: Violations,
) -> Value | None:
    """Return the value of one stored attribute, None if it has a violation."""
    if any(name not in given for name in attribute.fields):
        return None
    if attribute.template is not None:
        value = _composed_key(attribute.template, given, field, violations)
        if value is None:
            return None
    else:
        value = given[attribute.name]
    path = field if attribute.template is not None else f"{field}.{attribute.name}"
    if not attribute.may_have_type(value.type):
        expected, found = TYPE_NAMES.get(attribute.type, "scalar"), TYPE_NAMES[value.type]
        violations.add(path, f"is a {expected} key, not a {found}")
        return None
    if value.type != "N" and not 0 < len(value.order) <= longest:
        violations.add(path, f"is a key of 1 to {longest} bytes")
        return None
    return value


def _composed_key(
    template: KeyTemplate, given: Mapping[str, Value], field: str, violations: Violations
) -> Value | None:
    """Return the key composed of fields, None where one of them cannot be part of it."""
    is_valid = True
    for part in template.fields:
        value = given[part.name]
        reason = (
            template.rejection_reason(part, value.data)
            if value.type == "S"
            else f"is a string, not a {TYPE_NAMES[value.type]}"
        )
        if reason is not None:
            violations.add(f"{field}.{part.name}", reason)
            is_valid = False
    if not is_valid:
        return None
    return Value(
        "S", template.compose({part.name: given[part.name].data for part in template.fields})
    )
