"""The vocabulary of declared models: their base, and checks whose texts are for operators."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class StrictModel(BaseModel):
    """The base of everything that is declared in a file: immutable, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def matching(pattern: str, expected: str) -> AfterValidator:
    """Return a check that a text matches `pattern` as a whole; `expected` says what it must be."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if compiled.fullmatch(text) is None:
            raise PydanticCustomError("pattern", "{expected}", {"expected": f"must be {expected}"})
        return text

    return AfterValidator(check)


def validation_error(reason: str, *at: str | int) -> PydanticCustomError:
    """Return the error for a validator to raise: `reason`, at a place below the validated field."""
    return PydanticCustomError("mistaken", "{reason}", {"reason": reason, "at": at})


def non_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return `values`, or raise if there are none."""
    if not values:
        raise validation_error("must not be empty")
    return values


def unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return `values`, or raise for the first that repeats another one."""
    seen: dict[Hashable, int] = {}
    for index, value in enumerate(values):
        if seen.setdefault(value, index) != index:
            raise validation_error(f"repeats entry {seen[value]}", index)
    return values
