"""Projection in the service, for what DynamoDB was asked in excess of the caller's wishes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dynamodb_processor_server.query.expression.ast import Path
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import ResultProjection


def conflicting(paths: Iterable[Path]) -> Path | None:
    """Return a path that cannot be selected together with those before it, or None.

    It contains another or lies within it, or takes for a list what another takes for a map.
    """
    root: dict[str | int, Any] = {}
    for path in paths:
        node = root
        for depth, part in enumerate(path.parts, 1):
            final = depth == len(path.parts)
            known = node.get(part, _ABSENT)
            if known is None or (final and known is not _ABSENT):
                return path
            if type(next(iter(node), part)) is not type(part):  # all there are of one type
                return path
            if not final:
                node = node.setdefault(part, {})
            else:
                node[part] = None
    return None


_ABSENT: Any = object()


def shaped(item: WireItem, shape: ResultProjection) -> WireItem:
    """Return what a shape keeps of an expanded item, as callers see it."""
    if shape.view is not None:
        item = shape.view.with_stored_fields(item)
    if shape.paths:
        item = project(item, shape.paths)
    elif shape.attributes is not None:
        item = {name: value for name, value in item.items() if name in shape.attributes}
    return item if shape.view is None else shape.view.logical(item)


def project(item: WireItem, paths: Iterable[Path]) -> dict[str, Any]:
    """Return what `paths` select of an item, as DynamoDB does: list elements close ranks."""
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
        _select(elements[position], below)
        for position, below in sorted(
            ((part, below) for part, below in wanted.items() if isinstance(part, int)),
            key=lambda pair: pair[0],
        )
        if position < len(elements)
    ]
    chosen = [element for element in chosen if element is not None]
    return {"L": chosen} if chosen else None
