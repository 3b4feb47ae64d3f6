"""The logical view of a table: its items as callers see them, whatever the form they are stored in.

An item is read in three forms. Stored: as DynamoDB has it. Expanded: with the fields of its key
templates besides; conditions are evaluated on this one. Logical: timestamps in RFC 3339 and stored
keys hidden; this one is returned.

An item may also store an attribute with the name of a field. Conditions are about the field, which
only keys give. A stored attribute is shown where no key of the item gives the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from dynamodb_processor_server.catalog.key_templates import KeyTemplate
from dynamodb_processor_server.catalog.timestamps import TimestampForm

# What DynamoDB never deletes for its age is not hidden for it either: it was no time to live.
_OLDEST_SECONDS: Final = 5 * 365 * 86_400


class ExpandedItem(dict[str, Any]):
    """An expanded item, and what is known of it besides its attributes.

    `has_expired` says that it has passed its time to live. `stored_fields` are its stored
    attributes that have the name of a field.
    """

    __slots__ = ("has_expired", "stored_fields")

    def __init__(self, attributes: Mapping[str, Any], stored_fields: Mapping[str, Any]) -> None:
        super().__init__(attributes)
        self.has_expired = False
        self.stored_fields = stored_fields


def has_expired(item: Mapping[str, Any]) -> bool:
    """Return whether an item has passed its time to live; False where the view has none."""
    return isinstance(item, ExpandedItem) and item.has_expired


@dataclass(frozen=True, slots=True)
class LogicalView:
    """How the items of one table look.

    `templates` are those of its stored keys, in the order declared: the first that an item matches
    says what a field is. `timestamps` are forms by attribute or field. `hidden` attributes are not
    the callers' to see. `time_to_live` is the attribute after whose time items are hidden.
    """

    CANONICAL_TAGS: ClassVar = (
        "logical_view",
        {"templates": 1, "timestamps": 2, "hidden": 3, "time_to_live": 4},
    )

    templates: tuple[KeyTemplate, ...] = ()
    timestamps: Mapping[str, TimestampForm] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    time_to_live: str | None = None

    @property
    def is_identity(self) -> bool:
        """Whether items look as they are stored."""
        return not (self.templates or self.timestamps or self.hidden or self.time_to_live)

    def sources(self, name: str) -> tuple[str, ...]:
        """Return the stored attributes that `name` is made of: one, but for fields of templates."""
        found = tuple(t.attribute for t in self.templates if any(f.name == name for f in t.fields))
        return found or (name,)

    def is_field(self, name: str) -> bool:
        """Return whether a name is a field of a template."""
        return any(f.name == name for template in self.templates for f in template.fields)

    def template(self, attribute: str) -> KeyTemplate | None:
        """Return the template of a stored attribute, None if it has none."""
        return next((t for t in self.templates if t.attribute == attribute), None)

    def stored_names(self, names: Iterable[str]) -> list[str]:
        """Return the stored attributes that `names` are made of, each once."""
        return list(dict.fromkeys(source for name in names for source in self.sources(name)))

    def expanded(self, stored: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        """Return the expanded form of a stored item at `now`, in seconds since the epoch."""
        if not self.templates and not self.time_to_live:
            return stored
        fields = {name: value for name, value in stored.items() if self.is_field(name)}
        item = ExpandedItem(stored, fields)
        for name in fields:
            del item[name]
        for template in self.templates:
            text = stored.get(template.attribute, _NOTHING).get("S")
            for name, value in (template.decompose(text) or {} if text else {}).items():
                if self._is_sound(name, value):
                    item.setdefault(name, {"S": value})
        if self.time_to_live and _has_expired(stored.get(self.time_to_live), now):
            item.has_expired = True
        return item

    def with_stored_fields(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return an expanded item with what it stores under the names of fields it lacks."""
        if isinstance(item, ExpandedItem) and item.stored_fields:
            return {**item.stored_fields, **item}
        return item

    def logical(self, expanded: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the logical form of an expanded item, or of a part of one."""
        item = {name: value for name, value in expanded.items() if name not in self.hidden}
        for name, form in self.timestamps.items():
            text = item.get(name, _NOTHING).get(form.type)
            shown = form.shown(text) if text is not None else None
            if shown is not None:
                item[name] = {"S": shown}
        return item

    def _is_sound(self, name: str, value: str) -> bool:
        form = self.timestamps.get(name)
        return form is None or form.is_stored(value)


_NOTHING: Final[Mapping[str, Any]] = {}


def expiry(value: Mapping[str, Any] | None, now: float) -> float | None:
    """Return the time that a time-to-live attribute says, None if it says none."""
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
