"""Key templates: how a stored key is composed of logical fields, such as `"USER#{user_id}"`.

A field ends at the text that follows it in the template, so its value must not contain that text.
Without this rule, `x#y` + `z` and `x` + `y#z` would compose the same key of `{a}#{b}`.
Fields are never empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
class TemplateField:
    """A field of a template; `width` is its number of characters if that is fixed."""

    CANONICAL_TAGS: ClassVar = ("template_field", {"name": 1, "width": 2})

    name: str
    width: int | None


Part: TypeAlias = str | TemplateField


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """The template of one stored key attribute of type string."""

    CANONICAL_TAGS: ClassVar = ("key_template", {"attribute": 1, "parts": 2})

    attribute: str
    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, attribute: str, text: str, widths: Mapping[str, int]) -> KeyTemplate:
        """Parse a template; `widths` has the widths of fields whose timestamp form is fixed.

        Raises ValueError with the reason if the text is not a template.
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
        """Return the stored key. Raises ValueError, which names the field, for an invalid value."""
        for field in self.fields:
            reason = self.rejection_reason(field, values[field.name])
            if reason is not None:
                raise ValueError(f"{field.name} {reason}")
        return "".join(
            values[part.name] if isinstance(part, TemplateField) else part for part in self.parts
        )

    def rejection_reason(self, field: TemplateField, value: str) -> str | None:
        """Return the reason why a field cannot have a value, None if it can."""
        if not value:
            return "is part of a key and never empty"
        if field.width is not None:
            fits = len(value) == field.width
            return None if fits else f"has {field.width} characters in the key"
        separator = self._text_after(field)
        if separator and (value + separator).find(separator) != len(value):
            return f"is part of a key and must not contain {separator!r}"
        return None

    def decompose(self, stored: str) -> dict[str, str] | None:
        """Return the values of the fields; None if the key does not match the template."""
        values: dict[str, str] = {}
        start = 0
        for index, part in enumerate(self.parts):
            if isinstance(part, str):
                if not stored.startswith(part, start):
                    return None
                start += len(part)
                continue
            end = self._end_of_value(index, part, stored, start)
            if end <= start:
                return None
            values[part.name] = stored[start:end]
            start = end
        return values if start == len(stored) else None

    def _end_of_value(self, index: int, field: TemplateField, stored: str, start: int) -> int:
        if field.width is not None:
            return start + field.width if start + field.width <= len(stored) else -1
        if index + 1 == len(self.parts):
            return len(stored)
        separator = self.parts[index + 1]
        assert isinstance(separator, str), "checked by parse"
        return stored.find(separator, start)

    def _text_after(self, field: TemplateField) -> str:
        index = self.parts.index(field) + 1
        separator = self.parts[index] if index < len(self.parts) else ""
        return separator if isinstance(separator, str) else ""

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
