"""Tables: keys, and the access paths that can answer a query."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from dynamodb_processor_server.catalog.config import TableConfig
from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.catalog.key_templates import KeyTemplate
from dynamodb_processor_server.catalog.logical_view import LogicalView

BASE_TABLE = "@table"  # what callers write in `index` to mean no index

#: The types that a key attribute can have.
KEY_TYPES: Final = frozenset({"S", "N", "B"})


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
        return type_name == self.type if self.type else type_name in KEY_TYPES

    def with_templates_of(self, view: LogicalView) -> KeyAttribute:
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

    def seen_through(self, view: LogicalView) -> KeySchema:
        """Return the key with the templates that a view has for its attributes."""
        partition = tuple(attribute.with_templates_of(view) for attribute in self.partition)
        return KeySchema(
            partition, tuple(attribute.with_templates_of(view) for attribute in self.sort)
        )


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
    declaration: TableConfig
    schema: TableSchema
    view: LogicalView = field(init=False, compare=False)

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
    def schema_conflicts(self) -> list[str]:
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

    def restricted_to(self, granted: frozenset[str] | None, fixed: frozenset[str]) -> Table:
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
