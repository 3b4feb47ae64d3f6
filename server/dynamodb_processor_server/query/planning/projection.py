"""Projection in the service, for attributes that DynamoDB returns beyond the caller's request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dynamodb_processor_server.query.expression.ast import Path
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import ResultProjection


def conflicting(paths: Iterable[Path]) -> Path | None:
    """Return the first path that cannot be selected together with those before it, or None.

    It contains another path, lies within one, or treats a map as a list or a list as a map.
    """
    root: dict[str | int, Any] = {}
    for path in paths:
        node = root
        for depth, part in enumerate(path.parts, 1):
            final = depth == len(path.parts)
            known = node.get(part, _ABSENT)
            if known is None or (final and known is not _ABSENT):
                return path
            if type(next(iter(node), part)) is not type(part):  # the parts here have one type
                return path
            if not final:
                node = node.setdefault(part, {})
            else:
                node[part] = None
    return None


_ABSENT: Any = object()


def apply_projection(item: WireItem, projection: ResultProjection) -> WireItem:
    """Return the parts of an expanded item that a projection keeps, in the form for callers."""
    if projection.view is not None:
        item = projection.view.with_stored_fields(item)
    if projection.paths:
        item = project(item, projection.paths)
    elif projection.attributes is not None:
        item = {name: value for name, value in item.items() if name in projection.attributes}
    return item if projection.view is None else projection.view.logical(item)


def project(item: WireItem, paths: Iterable[Path]) -> dict[str, Any]:
    """Return the parts of an item at `paths`, as DynamoDB does: list elements lose their gaps."""
    wanted: dict[str | int, Any] = {}
    for path in paths:
        node = wanted
        for part in path.parts[:-1]:
            node = node.setdefault(part, {})
        node[path.parts[-1]] = None
    return _select_members(item, wanted)


def _select_members(members: Any, wanted: dict[str | int, Any]) -> dict[str, Any]:
    found = {}
    for name, below in wanted.items():
        if isinstance(name, str) and name in members:
            value = _select(members[name], below)
            if value is not None:
                found[name] = value
    return found


def _select(value: Any, wanted: dict[str | int, Any] | None) -> Any:
    if wanted is None:
        return value
    if "M" in value:
        members = _select_members(value["M"], wanted)
        return {"M": members} if members else None
    elements = value.get("L", ())
    chosen = [
        _select(elements[index], below)
        for index, below in sorted(
            ((part, below) for part, below in wanted.items() if isinstance(part, int)),
            key=lambda pair: pair[0],
        )
        if index < len(elements)
    ]
    chosen = [element for element in chosen if element is not None]
    return {"L": chosen} if chosen else None
