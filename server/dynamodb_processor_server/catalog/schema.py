"""Schemas of tables: keys, and the access paths that a query can read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from dynamodb_processor_server.catalog.config import TableConfig
from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.catalog.key_templates import KeyTemplate
from dynamodb_processor_server.catalog.logical_view import LogicalView

BASE_TABLE = "@table"  # the value of `index` in a query that means the table itself

#: The types that a key attribute can have.
KEY_TYPES: Final = frozenset({"S", "N", "B"})


class PathKind(Enum):
    """The kind of an access path."""

    TABLE = "table"
    LOCAL = "local index"
    GLOBAL = "global index"


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """One attribute of a key; `type` is S, N or B.

    `type` is empty if DynamoDB does not give it, as while an index is deleted. `template` is its
    composition, if it has one. `is_decisive` means that this template determines the values of its
    fields, even if other templates have the same fields.
    """

    name: str
    type: str
    template: KeyTemplate | None = None
    is_decisive: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """The names that callers use to fix it: the fields of its template, else its own name."""
        if self.template is None:
            return (self.name,)
        return tuple(field.name for field in self.template.fields)

    def may_have_type(self, type_name: str) -> bool:
        """Return whether the key may hold values of a type; any key type if DynamoDB gives none."""
        return type_name == self.type if self.type else type_name in KEY_TYPES

    def with_templates_of(self, view: LogicalView) -> KeyAttribute:
        """Return the attribute with its template in a view."""
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

    def with_templates_of(self, view: LogicalView) -> KeySchema:
        """Return the key with the templates that a view has for its attributes."""
        partition = tuple(attribute.with_templates_of(view) for attribute in self.partition)
        return KeySchema(
            partition, tuple(attribute.with_templates_of(view) for attribute in self.sort)
        )


@dataclass(frozen=True, slots=True)
class AccessPath:
    """The base table or one secondary index.

    `index` is None for the base table. `projected` is None if the path holds every attribute.
    `cursor_attributes` are the attributes of a cursor on this path: its own key and the table's.
    `resource` is the resource whose read capacity it uses: a global index has its own, others use
    that of the table.
    """

    index: str | None
    kind: PathKind
    key: KeySchema
    projected: frozenset[str] | None
    cursor_attributes: tuple[str, ...]
    resource: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        is_global = self.kind is PathKind.GLOBAL
        object.__setattr__(self, "resource", self.label if is_global else BASE_TABLE)

    @property
    def label(self) -> str:
        """The name to use in messages and in `QuerySpec.index`."""
        return self.index or BASE_TABLE


@dataclass(frozen=True, slots=True)
class TableSchema:
    """A table's access paths; the base table is the first.

    `stream_arn` is the ARN of the table's stream, None if it has none. `unreadable` are indexes
    that cannot be read: those being created or deleted, and those whose description is incomplete.
    `skipped` has one sentence for each such index, with the reason. `replicated` means that copies
    in other regions follow the table with a delay. `identity` tells the table from another one that
    gets its name. `item_bytes` is the average size of an item at DynamoDB's last count, None if the
    count found no item; it does not take part in comparisons.
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
    def all_paths(self) -> tuple[AccessPath, ...]:
        """The paths that a write may change: another replica may read an index unreadable here."""
        return self.paths + self.unreadable

    @property
    def key_types(self) -> dict[str, str]:
        """The types of all attributes that are part of a key, by name."""
        return {a.name: a.type for path in self.paths for a in path.key.attributes}

    def path(self, label: str) -> AccessPath | None:
        """Return the path that `label` names (an index, or "@table"), or None."""
        return next((path for path in self.paths if path.label == label), None)


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the catalog: the operator's configuration and DynamoDB's description."""

    name: str
    config: TableConfig
    schema: TableSchema
    view: LogicalView = field(init=False, compare=False)

    def __post_init__(self) -> None:
        view = self.config.view
        object.__setattr__(self, "view", view)
        if view.templates:
            paths, unreadable = (
                tuple(replace(path, key=path.key.with_templates_of(view)) for path in group)
                for group in (self.schema.paths, self.schema.unreadable)
            )
            schema = replace(self.schema, paths=paths, unreadable=unreadable)
            object.__setattr__(self, "schema", schema)

    @property
    def schema_conflicts(self) -> list[str]:
        """Parts of the configured view that contradict the schema, one sentence each.

        The keys of an index that is being created or deleted count as keys of the table.
        """
        keys = {a.name: a for path in self.schema.all_paths for a in path.key.attributes}
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
        visible = self.config.attributes
        return visible is None or attribute in visible

    def may_show_path(self, path: AccessPath) -> bool:
        """Return whether callers may see a path's key: each attribute, or all fields of it."""
        return all(
            self.may_show(attribute.name) or all(map(self.may_show, attribute.fields))
            for attribute in path.key.attributes
        )

    def may_name(self, path: AccessPath) -> bool:
        """Return whether callers may see the name of a path; that of the table itself is public.

        A path whose key has hidden attributes is still read for callers whose row rule fixes them.
        """
        return path.index is None or self.may_show_path(path)

    def restricted_to(self, granted: frozenset[str] | None, fixed: frozenset[str]) -> Table:
        """Return the table as a caller may see it.

        An index whose key the caller may not see is left out: its order and its choice of items
        would reveal hidden values.

        Args:
            granted: The attributes that the caller may see, of those that the table shows; None
                means all. If none is left, the table shows nothing.
            fixed: Attributes of which the caller gets few values in any case, so that an index's
                key may include them unseen.
        """
        configured = self.config.attributes
        if granted is None and configured is None:
            return self
        if granted is None:
            visible = configured or ()
        else:
            visible = tuple(n for n in (configured or sorted(granted)) if n in granted)
        required = tuple(
            name for name in self.config.required if name in visible or name in self.view.hidden
        )
        update = {"attributes": visible, "required": required}
        table = replace(self, config=self.config.model_copy(update=update))
        known = fixed.union(visible)
        paths = tuple(
            path
            for path in self.schema.paths
            if path.index is None
            or all(a.name in known or known.issuperset(a.fields) for a in path.key.attributes)
        )
        return replace(table, schema=replace(self.schema, paths=paths))
