"""Projection pushdown: the attributes to request from DynamoDB, and the parts of them to return."""

from __future__ import annotations

from collections.abc import Iterable

from dynamodb_processor_server.catalog.logical_view import LogicalView
from dynamodb_processor_server.catalog.schema import AccessPath, PathKind, Table
from dynamodb_processor_server.query.expression.ast import Condition, Path, Query, paths
from dynamodb_processor_server.query.planning.plan import ResultProjection


def pushed_projection(
    query: Query,
    table: Table,
    path: AccessPath,
    checked: tuple[Condition, ...],
    *,
    hydrates: bool,
) -> tuple[tuple[Path, ...], ResultProjection]:
    """Return the paths to request of each returned or counted item, and the parts to keep.

    A counted item needs nothing that the service does not check. But a hydrated item must still
    show that it has the keys under which the index showed it.
    """
    source = table.schema.base if hydrates else path
    if not query.counts:
        expiry = expiry_attribute(table, consistent=query.consistent)
        needed = (*path.cursor_attributes, *attributes(checked), *expiry)
        return projected_paths(query.projection, table, source, needed)
    needed = (*(path.cursor_attributes if hydrates else ()), *attributes(checked))
    return stored_paths(needed, source, table.view), ResultProjection()


def expiry_attribute(table: Table, *, consistent: bool) -> tuple[str, ...]:
    """Return the time-to-live attribute if it bounds how long items may be cached.

    An index without the attribute is read anyway: the time matters only if the catalog does not
    hide expired items.
    """
    config = table.config
    if consistent or not config.cache_ttl or config.time_to_live is None:
        return ()
    return (config.time_to_live,)


def projected_paths(
    projection: tuple[Path, ...], table: Table, source: AccessPath, needed: tuple[str, ...]
) -> tuple[tuple[Path, ...], ResultProjection]:
    """Return the paths to request from an access path for each item, and the parts to return.

    The attributes `needed` are requested even if the caller did not select them.
    """
    view = None if table.view.is_identity else table.view
    wanted = projection or tuple(Path((name,)) for name in table.config.attributes or ())
    if not wanted:
        return (), ResultProjection(view=view)
    stored = tuple(p for p in wanted if not table.view.is_field(p.attribute))
    fields = tuple(p.attribute for p in wanted if table.view.is_field(p.attribute))
    # A field comes from a key; if the item's keys do not give it, from an attribute of its name.
    requested = (
        *stored_paths((*needed, *fields), source, table.view),
        *(Path((name,)) for name in dict.fromkeys(fields) if _has_attribute(name, source)),
    )
    whole = {p.attribute for p in stored if len(p.parts) == 1}
    heads = frozenset(p.attribute for p in wanted)
    extra = [p for p in requested if p.attribute not in whole]
    if not extra:
        return wanted, ResultProjection(view=view)
    # DynamoDB refuses `a.b` together with `a`, so `a` is requested whole and cut here.
    widened = {p.attribute for p in stored}.intersection(p.attribute for p in extra)
    fetched = (*(p for p in stored if p.attribute not in widened), *extra)
    # DynamoDB has cut the other paths already, and removed the gaps in their lists.
    cut = (p if p.attribute in widened else Path((p.attribute,)) for p in wanted)
    return fetched, ResultProjection(heads, tuple(dict.fromkeys(cut)) if widened else (), view)


def stored_paths(names: Iterable[str], path: AccessPath, view: LogicalView) -> tuple[Path, ...]:
    """Return the stored attributes that give `names`, as far as a path has them."""
    return tuple(Path((name,)) for name in view.stored_names(names) if _has_attribute(name, path))


def _has_attribute(name: str, path: AccessPath) -> bool:
    # For a local index, DynamoDB fetches attributes that the index lacks.
    return path.projected is None or path.kind is not PathKind.GLOBAL or name in path.projected


def attributes(terms: Iterable[Condition]) -> tuple[str, ...]:
    """Return the distinct attributes in conjuncts."""
    return tuple(dict.fromkeys(path.attribute for term in terms for path in paths(term)))


def holds_attributes_of(path: AccessPath, term: Condition, view: LogicalView) -> bool:
    """Return whether a path has every attribute of a conjunct, or an attribute that gives it."""
    held = path.projected
    return held is None or all(
        not held.isdisjoint(view.sources(name)) for name in attributes((term,))
    )
