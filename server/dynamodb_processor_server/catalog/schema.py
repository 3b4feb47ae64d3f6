"""Tables as DynamoDB describes them: keys and the access paths that can answer a query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from dynamodb_processor_server.catalog.declaration import TableDeclaration
from dynamodb_processor_server.catalog.identity import TableIdentity, identity_of
from dynamodb_processor_server.catalog.templates import KeyTemplate
from dynamodb_processor_server.catalog.view import View

BASE_TABLE = "@table"  # what callers write in `index` to mean no index

_KEY_TYPES: Final = frozenset({"S", "N", "B"})


class DescriptionError(Exception):
    """A DescribeTable answer does not say what the table's own key is."""


class PathKind(Enum):
    """What an access path reads."""

    TABLE = "table"
    LOCAL = "local index"
    GLOBAL = "global index"


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """One attribute of a key; `type` is S, N or B.

    `type` is empty where DynamoDB does not say it, which happens while an index is deleted.
    `template` says what it is composed of, if anything. `is_decisive` says that its fields are what
    this template says, whichever others name them.
    """

    name: str
    type: str
    template: KeyTemplate | None = None
    is_decisive: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """What callers say to fix it: the fields it is composed of, else its own name."""
        if self.template is None:
            return (self.name,)
        return tuple(field.name for field in self.template.fields)

    def may_have_type(self, type_name: str) -> bool:
        """Return whether values of a type can be in the key, for all DynamoDB says."""
        return type_name == self.type if self.type else type_name in _KEY_TYPES

    def seen_through(self, view: View) -> KeyAttribute:
        """Return the attribute with the template that a view has for it."""
        template = view.template(self.name)
        if template is None:
            return self
        decisive = all(view.sources(field.name)[0] == self.name for field in template.fields)
        return replace(self, template=template, is_decisive=decisive)


@dataclass(frozen=True, slots=True)
class KeySchema:
    """A key's attributes in order: up to four of each in a global index, else 1 and 0 or 1."""

    partition: tuple[KeyAttribute, ...]
    sort: tuple[KeyAttribute, ...]

    @property
    def attributes(self) -> tuple[KeyAttribute, ...]:
        """Partition attributes, then sort attributes."""
        return self.partition + self.sort

    def seen_through(self, view: View) -> KeySchema:
        """Return the key with the templates that a view has for its attributes."""
        partition = tuple(attribute.seen_through(view) for attribute in self.partition)
        return KeySchema(partition, tuple(attribute.seen_through(view) for attribute in self.sort))


@dataclass(frozen=True, slots=True)
class AccessPath:
    """The base table or one secondary index.

    `index` is None for the base table. `projected` is None when the path holds every attribute.
    `position` names the attributes that say where a read stands on this path: its own key and the
    table's.
    """

    index: str | None
    kind: PathKind
    key: KeySchema
    projected: frozenset[str] | None
    position: tuple[str, ...]

    @property
    def label(self) -> str:
        """The name to use in messages and in `QuerySpec.index`."""
        return self.index or BASE_TABLE


@dataclass(frozen=True, slots=True)
class TableSchema:
    """A table's access paths; the base table is the first.

    `stream_arn` is the ARN of the stream of what is written to it, None if it has none.
    `unreadable` are indexes that cannot be read: those that are being made or deleted, and those
    whose description lacks what a query needs. `skipped` says why, one sentence for each index that
    cannot be read. `replicated` says that it has copies in other regions that follow it with a
    delay. `identity` says which table this is, also when another one gets its name.
    `item_bytes` is how large an item was on average when DynamoDB last counted them, None if
    it found none; a schema with another average is the same schema.
    """

    name: str
    paths: tuple[AccessPath, ...]
    stream_arn: str | None = None
    unreadable: tuple[AccessPath, ...] = ()
    replicated: bool = False
    skipped: tuple[str, ...] = ()
    identity: TableIdentity = field(default_factory=TableIdentity)
    item_bytes: float | None = field(default=None, compare=False)

    @property
    def base(self) -> AccessPath:
        """The base table."""
        return self.paths[0]

    @property
    def written(self) -> tuple[AccessPath, ...]:
        """What a write may change: another replica may read an index that is unreadable here."""
        return self.paths + self.unreadable

    @property
    def key_types(self) -> dict[str, str]:
        """The types, by name, of all attributes that are part of a key."""
        return {a.name: a.type for path in self.paths for a in path.key.attributes}

    def path(self, label: str) -> AccessPath | None:
        """Return the path that `label` names (an index, or "@table"), or None."""
        return next((path for path in self.paths if path.label == label), None)


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the catalog: what the operator declared and what DynamoDB describes."""

    name: str
    declaration: TableDeclaration
    schema: TableSchema
    view: View = field(init=False, compare=False)

    def __post_init__(self) -> None:
        view = self.declaration.view
        object.__setattr__(self, "view", view)
        if view.templates:
            paths, unreadable = (
                tuple(replace(path, key=path.key.seen_through(view)) for path in group)
                for group in (self.schema.paths, self.schema.unreadable)
            )
            schema = replace(self.schema, paths=paths, unreadable=unreadable)
            object.__setattr__(self, "schema", schema)

    @property
    def misfits(self) -> list[str]:
        """What is declared of the view that cannot be of a table with this schema.

        An index that is being made or deleted counts: its keys are or were those of the table.
        """
        keys = {a.name: a for path in self.schema.written for a in path.key.attributes}
        types = {name: attribute.type for name, attribute in keys.items() if attribute.type}
        found = [
            f"keys.{template.attribute}: the table has no such key, or it is no string"
            for template in self.view.templates
            if template.attribute not in keys or not keys[template.attribute].may_have_type("S")
        ]
        found += [
            f"keys.{template.attribute}: {part.name} is a key of the table itself"
            for template in self.view.templates
            for part in template.fields
            if part.name in types
        ]
        found += [
            f"timestamps.{name}: {form.name} is stored as {form.type}, the key is {types[name]}"
            for name, form in self.view.timestamps.items()
            if types.get(name, form.type) != form.type
        ]
        return found

    def may_show(self, attribute: str) -> bool:
        """Return whether callers may name and see an attribute."""
        if attribute in self.view.hidden:
            return False
        visible = self.declaration.attributes
        return visible is None or attribute in visible

    def may_show_path(self, path: AccessPath) -> bool:
        """Return whether callers may name and see all of a path's key, or what it is made of."""
        return all(
            self.may_show(attribute.name) or all(map(self.may_show, attribute.fields))
            for attribute in path.key.attributes
        )

    def narrowed(self, granted: frozenset[str] | None, fixed: frozenset[str]) -> Table:
        """Return the table as it is for a caller.

        An index whose key the caller may not see is none to them: its order, and which items it
        holds, would tell of what is not shown.

        Args:
            granted: The attributes that the caller may see, of those that the table shows; None
                means all. Where none is left, the table shows nothing.
            fixed: Attributes of which the caller gets few values in any case, so that they may be
                part of an index's key unseen.
        """
        declared = self.declaration.attributes
        if granted is None and declared is None:
            return self
        if granted is None:
            visible = declared or ()
        else:
            visible = tuple(n for n in (declared or sorted(granted)) if n in granted)
        required = tuple(
            name
            for name in self.declaration.required
            if name in visible or name in self.view.hidden
        )
        update = {"attributes": visible, "required": required}
        table = replace(self, declaration=self.declaration.model_copy(update=update))
        known = fixed.union(visible)
        paths = tuple(
            path
            for path in self.schema.paths
            if path.index is None
            or all(a.name in known or known.issuperset(a.fields) for a in path.key.attributes)
        )
        return replace(table, schema=replace(self.schema, paths=paths))


def parse_description(
    description: Mapping[str, Any], endpoint: str = "", region: str = ""
) -> TableSchema:
    """Return the schema that a DescribeTable answer's `Table` describes.

    `endpoint` and `region` are those of the client that asked.
    An index whose description cannot be read is left out of `paths`, whatever is wrong with it.
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
            reason = _obstacle(index, path)
            if reason is None:
                paths.append(path)
            else:
                unreadable.append(path)
                skipped.append(f"{path.index}: {reason}")
    # Of a stream that was switched off, the ARN remains.
    streams = description.get("StreamSpecification") or {}
    arn = description.get("LatestStreamArn") if streams.get("StreamEnabled") else None
    strong = description.get("MultiRegionConsistency") == "STRONG"
    replicated = bool(description.get("Replicas")) and not strong
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
    """Return the types of key attributes by name, without those that are not known here."""
    defined = _named(definitions, "AttributeName")
    types = {each["AttributeName"]: each.get("AttributeType") for each in defined}
    return {name: kind for name, kind in types.items() if kind in _KEY_TYPES}


def _named(elements: Any, name: str) -> list[Mapping[str, Any]]:
    """Return those of a description's elements that have a name, by name."""
    found = [each for each in elements or () if isinstance(each, Mapping) and each.get(name)]
    return sorted(found, key=lambda each: str(each[name]))


def _item_bytes(description: Mapping[str, Any]) -> float | None:
    """Return the average size of an item. DynamoDB counts a table's items every six hours."""
    items, size = description.get("ItemCount"), description.get("TableSizeBytes")
    if not isinstance(items, int) or not isinstance(size, int) or items <= 0 or size <= 0:
        return None
    return size / items


_READABLE: Final = ("ACTIVE", "UPDATING")
_PROJECTIONS: Final = ("ALL", "KEYS_ONLY", "INCLUDE")


def _obstacle(index: Mapping[str, Any], path: AccessPath) -> str | None:
    """Return why an index cannot be read, None if it can."""
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
    """Return the path of an index, as far as it is described; it may lack types and projection."""
    key = _key_schema(index["KeySchema"], types)
    own = tuple(attribute.name for attribute in key.attributes)
    position = tuple(dict.fromkeys((*own, *table_key)))
    projection = _projection(index)
    projected = None
    if projection.get("ProjectionType") != "ALL":
        projected = frozenset(position).union(projection.get("NonKeyAttributes") or ())
    return AccessPath(index["IndexName"], kind, key, projected, position)


def _key_schema(elements: Iterable[Mapping[str, str]], types: Mapping[str, str]) -> KeySchema:
    attributes: dict[str, list[KeyAttribute]] = {"HASH": [], "RANGE": []}
    for element in elements:
        name = element["AttributeName"]
        attributes[element["KeyType"]].append(KeyAttribute(name, types.get(name, "")))
    return KeySchema(tuple(attributes["HASH"]), tuple(attributes["RANGE"]))
