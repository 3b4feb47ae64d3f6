"""The base class of configuration models, and validators with messages for operators."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class StrictModel(BaseModel):
    """Base class of models read from a file: immutable, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def matching(pattern: str, expected: str) -> AfterValidator:
    """Return a validator that a whole text matches `pattern`; `expected` completes "must be"."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if compiled.fullmatch(text) is None:
            raise PydanticCustomError("pattern", "{expected}", {"expected": f"must be {expected}"})
        return text

    return AfterValidator(check)


def validation_error(reason: str, *path: str | int) -> PydanticCustomError:
    """Return the error for a validator to raise, at `path` below the validated field."""
    return PydanticCustomError("invalid", "{reason}", {"reason": reason, "path": path})


def non_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Validate that there is at least one value."""
    if not values:
        raise validation_error("must not be empty")
    return values


def unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Validate that no value repeats an earlier one; the error is at the first that does."""
    seen: dict[Hashable, int] = {}
    for index, value in enumerate(values):
        if seen.setdefault(value, index) != index:
            raise validation_error(f"repeats entry {seen[value]}", index)
    return values
