"""Tests of the bounds on values of labels."""

from __future__ import annotations

from dynamodb_processor_server.telemetry.labels import OTHER, LabelValues


def test_the_first_values_keep_their_names() -> None:
    """A value that was within the bound stays, however many others follow."""
    values = LabelValues(2)
    assert [values.of(name) for name in ("a", "b", "c", "a", "d", "b")] == [
        "a", "b", OTHER, "a", OTHER, "b",
    ]  # fmt: skip


def test_the_empty_value_needs_no_room() -> None:
    """It stands for no table or no principal, and must never join the others."""
    values = LabelValues(1)
    assert [values.of(name) for name in ("a", "", "b", "")] == ["a", "", OTHER, ""]
