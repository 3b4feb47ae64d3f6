"""The logical view of a table: its items as callers see them, not as they are stored.

An item has three forms:

- Stored: as DynamoDB has it.
- Expanded: with the fields of its key templates added. Conditions are evaluated on this form.
- Logical: with timestamps in RFC 3339 and without hidden keys. Callers get this form.

An item may also store an attribute with the name of a field. Conditions refer to the field, whose
value comes from keys alone. The stored attribute is shown if no key of the item gives the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Final

from dynamodb_processor_server.catalog.key_templates import KeyTemplate
from dynamodb_processor_server.catalog.timestamps import TimestampForm

# DynamoDB never deletes items whose time is older than this, so the service does not hide them.
_OLDEST_SECONDS: Final = 5 * 365 * 86_400


class ExpandedItem(dict[str, Any]):
    """An expanded item, with facts about it that are not attributes.

    `has_expired` means that its time to live has passed. `stored_fields` are its stored attributes
    that have the name of a field.
    """

    __slots__ = ("has_expired", "stored_fields")

    def __init__(self, attributes: Mapping[str, Any], stored_fields: Mapping[str, Any]) -> None:
        super().__init__(attributes)
        self.has_expired = False
        self.stored_fields = stored_fields


def has_expired(item: Mapping[str, Any]) -> bool:
    """Return whether an item's time to live has passed; False if the view has no time to live."""
    return isinstance(item, ExpandedItem) and item.has_expired


@dataclass(frozen=True)  # without slots, which leave no room for a value that is computed once
class LogicalView:
    """The logical view of one table's items.

    `templates` belong to its stored keys, in the configured order: the first template that an item
    matches gives the value of a field. `timestamps` are forms by attribute or field. Callers do not
    see `hidden` attributes. `time_to_live` is the attribute with the time after which an item is
    hidden.
    """

    CANONICAL_TAGS: ClassVar = (
        "logical_view",
        {"templates": 1, "timestamps": 2, "hidden": 3, "time_to_live": 4},
    )

    templates: tuple[KeyTemplate, ...] = ()
    timestamps: Mapping[str, TimestampForm] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    time_to_live: str | None = None

    @cached_property
    def is_identity(self) -> bool:
        """Whether the view leaves items as they are stored."""
        return not (self.templates or self.timestamps or self.hidden or self.time_to_live)

    def sources(self, name: str) -> tuple[str, ...]:
        """Return the stored attributes that give `name`: several only for fields of templates."""
        found = tuple(t.attribute for t in self.templates if any(f.name == name for f in t.fields))
        return found or (name,)

    def is_field(self, name: str) -> bool:
        """Return whether `name` is a field of a template."""
        return any(f.name == name for template in self.templates for f in template.fields)

    def template(self, attribute: str) -> KeyTemplate | None:
        """Return the template of a stored attribute, None if it has none."""
        return next((t for t in self.templates if t.attribute == attribute), None)

    def stored_names(self, names: Iterable[str]) -> list[str]:
        """Return the distinct stored attributes that give `names`."""
        return list(dict.fromkeys(source for name in names for source in self.sources(name)))

    def expanded(self, stored: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        """Return the expanded form of a stored item; `now` is in seconds since the epoch."""
        if not self.templates and not self.time_to_live:
            return stored
        fields = {name: value for name, value in stored.items() if self.is_field(name)}
        item = ExpandedItem(stored, fields)
        for name in fields:
            del item[name]
        for template in self.templates:
            text = stored.get(template.attribute, _NOTHING).get("S")
            for name, value in (template.decompose(text) or {} if text else {}).items():
                if self._is_valid(name, value):
                    item.setdefault(name, {"S": value})
        if self.time_to_live and _has_expired(stored.get(self.time_to_live), now):
            item.has_expired = True
        return item

    def stored(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the stored form of an expanded item."""
        if not isinstance(item, ExpandedItem):
            return item
        own = {name: value for name, value in item.items() if not self.is_field(name)}
        return {**own, **item.stored_fields}

    def with_stored_fields(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an expanded item with its stored attributes for the fields that it lacks."""
        if isinstance(item, ExpandedItem) and item.stored_fields:
            return {**item.stored_fields, **item}
        return item

    def logical(self, expanded: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the logical form of an expanded item, or of a part of one."""
        item = {name: value for name, value in expanded.items() if name not in self.hidden}
        for name, form in self.timestamps.items():
            text = item.get(name, _NOTHING).get(form.type)
            rfc3339 = form.to_rfc3339(text) if text is not None else None
            if rfc3339 is not None:
                item[name] = {"S": rfc3339}
        return item

    def _is_valid(self, name: str, value: str) -> bool:
        form = self.timestamps.get(name)
        return form is None or form.is_stored(value)


_NOTHING: Final[Mapping[str, Any]] = {}


def expiry(value: Mapping[str, Any] | None, now: float) -> float | None:
    """Return the time in a time-to-live attribute; None if it has no valid one."""
    if value is None or "N" not in value:
        return None
    try:
        moment = float(value["N"])
    except ValueError:  # a DynamoDB-like server may store any text as a number
        return None
    return moment if moment > now - _OLDEST_SECONDS else None


def _has_expired(value: Mapping[str, Any] | None, now: float) -> bool:
    moment = expiry(value, now)
    return moment is not None and moment <= now
