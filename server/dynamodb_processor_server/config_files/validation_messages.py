"""What a validator found wrong, in words for operators instead of the validator's own."""

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
    """Return what is wrong; `model`, if given, is asked for names close to an unknown field's."""
    if details["type"] == "extra_forbidden":
        *place, name = details["loc"]
        return _UNKNOWN_FIELD + did_you_mean(str(name), _fields_at(model, place))
    text = details["msg"].removeprefix("Value error, ")
    text = re.sub(r"^[A-Z]\w+ should", "must", text)
    return _REASONS.get(details["type"], text)


def did_you_mean(name: str, known: Sequence[str], prefix: str = "") -> str:
    """Return a question for the known name that is closest to one, empty if none is close.

    `prefix` is what all of them begin with, left out in comparing.
    """
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def _fields_at(annotation: Any, place: list[str | int]) -> tuple[str, ...]:
    """Return the fields of the models that may stand at a place below a type."""
    return tuple(dict.fromkeys(_fields(annotation, place)))


def _fields(annotation: Any, place: list[str | int]) -> Iterator[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not place:
            yield from annotation.model_fields
        elif (field := annotation.model_fields.get(str(place[0]))) is not None:
            yield from _fields(field.annotation, place[1:])
        return
    # Of a mapping or list the place goes one step into its members; of a union or an annotated
    # type it stays. The other way finds no model there.
    for inner in get_args(annotation):
        yield from _fields(inner, place)
        if place:
            yield from _fields(inner, place[1:])
