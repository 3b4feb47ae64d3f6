"""What to ask DynamoDB for of each item, and what to keep of it."""

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
    """Return what to ask for of each item that is returned or counted, and what to keep of it.

    What the service has checked of an item that it counts is of no further use, but an item that
    it got must show that it still is where the index showed it.
    """
    source = table.schema.base if hydrates else path
    if not query.counts:
        needed = (*path.cursor_attributes, *attributes(checked), *_lifetime(query, table))
        return projected_paths(query.projection, table, source, needed)
    needed = (*(path.cursor_attributes if hydrates else ()), *attributes(checked))
    return stored_paths(needed, source, table.view), ResultProjection()


def _lifetime(query: Query, table: Table) -> tuple[str, ...]:
    """Return the attribute that says how long an answer may be cached, if it may and there is one.

    An index that lacks it is read all the same: it matters only where nothing hides what expired.
    """
    config = table.config
    if query.consistent or not config.cache_ttl or config.time_to_live is None:
        return ()
    return (config.time_to_live,)


def projected_paths(
    projection: tuple[Path, ...], table: Table, source: AccessPath, needed: tuple[str, ...]
) -> tuple[tuple[Path, ...], ResultProjection]:
    """Return what to ask a path for of each item that is returned, and what to keep of it.

    The attributes `needed` are asked for whether they are wanted or not.
    """
    view = None if table.view.is_identity else table.view
    wanted = projection or tuple(Path((name,)) for name in table.config.attributes or ())
    if not wanted:
        return (), ResultProjection(view=view)
    stored = tuple(p for p in wanted if not table.view.is_field(p.attribute))
    fields = tuple(p.attribute for p in wanted if table.view.is_field(p.attribute))
    # A field comes from a key or, where the item's keys do not give it, from an attribute.
    asked = (
        *stored_paths((*needed, *fields), source, table.view),
        *(Path((name,)) for name in dict.fromkeys(fields) if _is_held(name, source)),
    )
    whole = {p.attribute for p in stored if len(p.parts) == 1}
    heads = frozenset(p.attribute for p in wanted)
    extra = [p for p in asked if p.attribute not in whole]
    if not extra:
        return wanted, ResultProjection(view=view)
    # Asking for both `a.b` and `a` is an error, so `a` is fetched whole and cut here.
    widened = {p.attribute for p in stored}.intersection(p.attribute for p in extra)
    fetched = (*(p for p in stored if p.attribute not in widened), *extra)
    # What DynamoDB has cut already is kept as it comes: its list elements have closed ranks.
    cut = (p if p.attribute in widened else Path((p.attribute,)) for p in wanted)
    return fetched, ResultProjection(heads, tuple(dict.fromkeys(cut)) if widened else (), view)


def stored_paths(names: Iterable[str], path: AccessPath, view: LogicalView) -> tuple[Path, ...]:
    """Return the stored attributes that `names` are made of, as far as a path holds them."""
    return tuple(Path((name,)) for name in view.stored_names(names) if _is_held(name, path))


def _is_held(name: str, path: AccessPath) -> bool:
    # A local index fetches what it does not hold.
    return path.projected is None or path.kind is not PathKind.GLOBAL or name in path.projected


def attributes(terms: Iterable[Condition]) -> tuple[str, ...]:
    """Return the attributes that conjuncts name, each once."""
    return tuple(dict.fromkeys(path.attribute for term in terms for path in paths(term)))


def holds(path: AccessPath, term: Condition, view: LogicalView) -> bool:
    """Return whether a path holds every attribute that a conjunct names, or what it is made of."""
    held = path.projected
    return held is None or all(
        not held.isdisjoint(view.sources(name)) for name in attributes((term,))
    )
