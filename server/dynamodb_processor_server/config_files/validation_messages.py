"""Messages for operators in place of the texts of pydantic's validation errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

_REASONS: Final = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping of names to values",
    "float_parsing": "must be a number",
    "int_parsing": "must be a whole number",
    "missing": "is required",
    "model_type": "must be a mapping of fields to values",
    "string_type": "must be text; if it is meant as text, put it in quotes",
    "timezone_aware": "must say its time zone, such as Z for UTC",
    "tuple_type": "must be a list",
}
_UNKNOWN_FIELD: Final = "is not a field that is known here"


def reason_of(details: ErrorDetails, model: Any = None) -> str:
    """Return the reason of a validation error; `model`'s field names help to suggest one."""
    if details["type"] == "extra_forbidden":
        *path, name = details["loc"]
        return _UNKNOWN_FIELD + did_you_mean(str(name), _fields_at(model, path))
    text = details["msg"].removeprefix("Value error, ")
    text = re.sub(r"^[A-Z]\w+ should", "must", text)
    return _REASONS.get(details["type"], text)


def did_you_mean(name: str, known: Sequence[str], prefix: str = "") -> str:
    """Return a suggestion of the known name closest to `name`, empty if none is close.

    `prefix` is put before the suggested name; `known` holds the names without it.
    """
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def _fields_at(annotation: Any, path: list[str | int]) -> tuple[str, ...]:
    """Return the fields of the models that a type allows at `path`."""
    return tuple(dict.fromkeys(_fields(annotation, path)))


def _fields(annotation: Any, path: list[str | int]) -> Iterator[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not path:
            yield from annotation.model_fields
        elif (field := annotation.model_fields.get(str(path[0]))) is not None:
            yield from _fields(field.annotation, path[1:])
        return
    # A member of a mapping or list consumes a step of the path; a member of a union or an annotated
    # type does not. The branch that is wrong for the type finds no model.
    for inner in get_args(annotation):
        yield from _fields(inner, path)
        if path:
            yield from _fields(inner, path[1:])
