"""Parses DescribeTable results; any part of a result may be missing or unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from dynamodb_processor_server.catalog.identity import identity_of
from dynamodb_processor_server.catalog.schema import (
    KEY_TYPES,
    AccessPath,
    KeyAttribute,
    KeySchema,
    PathKind,
    TableSchema,
)

_READABLE: Final = ("ACTIVE", "UPDATING")
_PROJECTIONS: Final = ("ALL", "KEYS_ONLY", "INCLUDE")


class DescriptionError(Exception):
    """A DescribeTable result lacks the table's own key."""


def parse_description(
    description: Mapping[str, Any], endpoint: str = "", region: str = ""
) -> TableSchema:
    """Return the schema of the table in a DescribeTable result, given its `Table` field.

    `endpoint` and `region` are those of the client that sent the request. An index whose
    description has an error of any kind is left out of `paths`.
    Raises DescriptionError if the table's own key cannot be read.
    """
    try:
        types = _key_types(description["AttributeDefinitions"])
        key = _key_schema(description["KeySchema"], types)
        name = description["TableName"]
    except (KeyError, TypeError) as error:
        raise DescriptionError(f"the description of a table lacks {error}") from None
    if not key.partition or not all(attribute.type for attribute in key.attributes):
        raise DescriptionError("the description of a table lacks its key or a type of its key")
    names = tuple(attribute.name for attribute in key.attributes)
    paths = [AccessPath(None, PathKind.TABLE, key, None, names)]
    unreadable: list[AccessPath] = []
    skipped: list[str] = []
    for kind, field_name in (
        (PathKind.LOCAL, "LocalSecondaryIndexes"),
        (PathKind.GLOBAL, "GlobalSecondaryIndexes"),
    ):
        for index in _named(description.get(field_name), "IndexName"):
            try:
                path = _index_path(index, kind, names, types)
            except (KeyError, TypeError, AttributeError) as error:
                skipped.append(f"{index['IndexName']}: its description is not understood: {error}")
                continue
            reason = _unreadable_reason(index, path)
            if reason is None:
                paths.append(path)
            else:
                unreadable.append(path)
                skipped.append(f"{path.index}: {reason}")
    # The ARN of a stream remains after the stream was switched off.
    streams = description.get("StreamSpecification") or {}
    arn = description.get("LatestStreamArn") if streams.get("StreamEnabled") else None
    consistent = description.get("MultiRegionConsistency") == "STRONG"
    replicated = bool(description.get("Replicas")) and not consistent
    return TableSchema(
        name,
        tuple(paths),
        arn,
        tuple(unreadable),
        replicated,
        tuple(skipped),
        identity_of(description, endpoint, region),
        _item_bytes(description),
    )


def _key_types(definitions: Any) -> dict[str, str]:
    """Return the types of key attributes by name, without types unknown to this service."""
    defined = _named(definitions, "AttributeName")
    types = {each["AttributeName"]: each.get("AttributeType") for each in defined}
    return {name: kind for name, kind in types.items() if kind in KEY_TYPES}


def _named(elements: Any, name: str) -> list[Mapping[str, Any]]:
    """Return the elements of a description that have a name, sorted by name."""
    found = [each for each in elements or () if isinstance(each, Mapping) and each.get(name)]
    return sorted(found, key=lambda each: str(each[name]))


def _item_bytes(description: Mapping[str, Any]) -> float | None:
    """Return the average size of an item. DynamoDB counts a table's items every six hours."""
    items, size = description.get("ItemCount"), description.get("TableSizeBytes")
    if not isinstance(items, int) or not isinstance(size, int) or items <= 0 or size <= 0:
        return None
    return size / items


def _unreadable_reason(index: Mapping[str, Any], path: AccessPath) -> str | None:
    """Return the reason why an index cannot be read, None if it can."""
    status = index.get("IndexStatus", "ACTIVE")
    if status not in _READABLE:
        return f"its status is {status}"
    if not path.key.partition:
        return "its description lacks the partition key"
    untyped = [attribute.name for attribute in path.key.attributes if not attribute.type]
    if untyped:
        return f"its description lacks the type of {', '.join(untyped)}"
    if _projection(index).get("ProjectionType") not in _PROJECTIONS:
        return "its description lacks its projection"
    return None


def _projection(index: Mapping[str, Any]) -> Mapping[str, Any]:
    return index.get("Projection") or {}


def _index_path(
    index: Mapping[str, Any], kind: PathKind, table_key: Iterable[str], types: Mapping[str, str]
) -> AccessPath:
    """Return an index's path from its description, which may lack types and the projection."""
    key = _key_schema(index["KeySchema"], types)
    names = (attribute.name for attribute in key.attributes)
    cursor_attributes = tuple(dict.fromkeys((*names, *table_key)))
    projection = _projection(index)
    projected = None
    if projection.get("ProjectionType") != "ALL":
        non_key = projection.get("NonKeyAttributes") or ()
        projected = frozenset(cursor_attributes).union(non_key)
    return AccessPath(index["IndexName"], kind, key, projected, cursor_attributes)


def _key_schema(elements: Iterable[Mapping[str, str]], types: Mapping[str, str]) -> KeySchema:
    attributes: dict[str, list[KeyAttribute]] = {"HASH": [], "RANGE": []}
    for element in elements:
        name = element["AttributeName"]
        attributes[element["KeyType"]].append(KeyAttribute(name, types.get(name, "")))
    return KeySchema(tuple(attributes["HASH"]), tuple(attributes["RANGE"]))
