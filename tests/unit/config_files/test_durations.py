"""Durations in settings and in the catalog: their units, and texts that are refused."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from dynamodb_processor_server.config_files import duration

_TEN_MINUTES: TypeAdapter[float] = TypeAdapter(Annotated[float, duration(0.2, 600)])
_POSITIVE: TypeAdapter[float] = TypeAdapter(Annotated[float, duration(0, 600, above=True)])


def refusal(adapter: TypeAdapter[float], given: object) -> str:
    """Return the reason why a duration is refused."""
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(given)
    return str(caught.value.errors()[0]["msg"]).removeprefix("Value error, ")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (300, 300.0),
        (0.2, 0.2),
        ("300", 300.0),
        ("300s", 300.0),
        ("5m", 300.0),
        ("0.1h", 360.0),
        ("1.5m", 90.0),
        ("250ms", 0.25),
        ("700ms", 0.7),
        ("1e2", 100.0),
        (".5", 0.5),
        ("+2s", 2.0),
        (" 5m ", 300.0),
        (600, 600.0),
        ("10m", 600.0),
    ],
)
def test_a_duration_is_a_number_of_seconds(given: object, seconds: float) -> None:
    """A number without a unit means seconds, also as text; the bounds themselves are allowed."""
    assert _TEN_MINUTES.validate_python(given) == seconds


@pytest.mark.parametrize(
    "given",
    [
        *("", "soon", "5 m", "5d", "5M", "5mm", "m", "s", "1.2.3", "--1", "e", "5m3s", "1_000"),
        *("nan", "inf", "٣", "5\n6", True, False, None, [5], {"s": 5}, b"5", float("nan")),
    ],
    ids=repr,
)
def test_anything_else_is_refused_with_examples(given: object) -> None:
    """A text with an unknown unit is refused and never read as seconds."""
    assert refusal(_TEN_MINUTES, given) == (
        "must be a number of seconds, such as 300, or a duration such as 300s, 5m"
    )


@pytest.mark.parametrize(
    "given",
    [0, 0.19, "199ms", 601, "11m", -1, "-5m", "1e30", "1e999", float("inf"), 10**400],
    ids=lambda given: str(given)[:8],
)
def test_a_duration_out_of_bounds_is_refused_with_the_bounds(given: Any) -> None:
    """The error names the bounds in seconds for every unit of the text."""
    assert refusal(_TEN_MINUTES, given) == "must be 0.2 to 600 seconds"


def test_a_lower_bound_may_be_excluded() -> None:
    """A bound of zero is refused where it is excluded, as for a timeout."""
    assert refusal(_POSITIVE, "0s") == "must be more than 0 and at most 600 seconds"
    assert _POSITIVE.validate_python("1ms") == 0.001
