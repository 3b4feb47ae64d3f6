"""Key templates: how a stored key is composed of logical fields, `"USER#{user_id}"`.

A field ends where the text that follows it in the template begins, so its values must not contain
that text; without this rule `{a}#{b}` would read `x#y` + `z` and `x` + `y#z` as the same key.
Fields are never empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
class TemplateField:
    """A field in a template; `width` is its number of characters where that is always the same."""

    CANONICAL_TAGS: ClassVar = ("template_field", {"name": 1, "width": 2})

    name: str
    width: int | None


Part: TypeAlias = str | TemplateField


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """The template of one stored key attribute, a string."""

    CANONICAL_TAGS: ClassVar = ("key_template", {"attribute": 1, "parts": 2})

    attribute: str
    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, attribute: str, text: str, widths: Mapping[str, int]) -> KeyTemplate:
        """Return the template that `text` says; `widths` are those of fields of a known form.

        Raise ValueError, with the reason, if the text is no template.
        """
        parts: list[Part] = []
        for literal, name, spec, conversion in Formatter().parse(text):
            if literal:
                parts.append(literal)
            if name is None:
                continue
            if not name or conversion or any(mark in name for mark in ".["):
                raise ValueError("a field is {name}, or {name:8} if it always has 8 characters")
            parts.append(TemplateField(name, widths.get(name) or _width(spec)))
        template = cls(attribute, tuple(parts))
        template._check()
        return template

    def __str__(self) -> str:
        return "".join(
            f"{{{part.name}}}" if isinstance(part, TemplateField) else part for part in self.parts
        )

    @property
    def fields(self) -> tuple[TemplateField, ...]:
        """The fields in order."""
        return tuple(part for part in self.parts if isinstance(part, TemplateField))

    def compose(self, values: Mapping[str, str]) -> str:
        """Return the stored key. Raise ValueError, naming the field, for a value it cannot hold."""
        for field in self.fields:
            reason = self.rejection_reason(field, values[field.name])
            if reason is not None:
                raise ValueError(f"{field.name} {reason}")
        return "".join(
            values[part.name] if isinstance(part, TemplateField) else part for part in self.parts
        )

    def rejection_reason(self, field: TemplateField, value: str) -> str | None:
        """Return why a field cannot have a value, None if it can."""
        if not value:
            return "is part of a key and never empty"
        if field.width is not None:
            fits = len(value) == field.width
            return None if fits else f"has {field.width} characters in the key"
        following = self._after(field)
        if following and (value + following).find(following) != len(value):
            return f"is part of a key and must not contain {following!r}"
        return None

    def decompose(self, stored: str) -> dict[str, str] | None:
        """Return the values of the fields, None for a key that was not made by this template."""
        values: dict[str, str] = {}
        at = 0
        for position, part in enumerate(self.parts):
            if isinstance(part, str):
                if not stored.startswith(part, at):
                    return None
                at += len(part)
                continue
            end = self._end(position, part, stored, at)
            if end <= at:
                return None
            values[part.name] = stored[at:end]
            at = end
        return values if at == len(stored) else None

    def _end(self, position: int, field: TemplateField, stored: str, at: int) -> int:
        if field.width is not None:
            return at + field.width if at + field.width <= len(stored) else -1
        if position + 1 == len(self.parts):
            return len(stored)
        following = self.parts[position + 1]
        assert isinstance(following, str), "checked by parse"
        return stored.find(following, at)

    def _after(self, field: TemplateField) -> str:
        position = self.parts.index(field) + 1
        following = self.parts[position] if position < len(self.parts) else ""
        return following if isinstance(following, str) else ""

    def _check(self) -> None:
        names = [field.name for field in self.fields]
        if not names:
            raise ValueError("has no field; a key template holds at least one, as {name}")
        if len(set(names)) < len(names):
            raise ValueError("has a field twice")
        for part, following in zip(self.parts, self.parts[1:], strict=False):
            if isinstance(part, str) or isinstance(following, str) or part.width is not None:
                continue
            raise ValueError(f"nothing says where {part.name} ends: put a separator behind it")


def _width(spec: str | None) -> int | None:
    if not spec:
        return None
    if not spec.isascii() or not spec.isdigit() or not 0 < int(spec) <= 1024:
        raise ValueError("a field's width is a number of characters from 1 to 1024")
    return int(spec)
