"""Conditions on logical attributes hold for the same items as their stored forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.catalog.config import TableConfig
from dynamodb_processor_server.catalog.logical_view import LogicalView
from dynamodb_processor_server.catalog.timestamps import FORMS, parse_instant
from dynamodb_processor_server.query.expression.ast import Condition
from dynamodb_processor_server.query.expression.evaluator import evaluate
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.expression.validation import ExpressionError
from dynamodb_processor_server.query.planning.logical_attributes import stored_condition
from tests.unit.query.planning.plans import condition_of

OPERATORS: Final[dict[str, Callable[[int, int], bool]]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
NOW: Final = 1_767_225_600.0
# Times around the end of a second, so that many lie between two storable ones.
FRACTIONS: Final = ("", ".000000001", ".0004", ".0005", ".001", ".5", ".999", ".999999999")
moments = st.tuples(
    st.sampled_from(("2025-12-31T23:59:59", "2026-01-01T00:00:00", "2026-01-01T00:00:01")),
    st.sampled_from(FRACTIONS),
    st.sampled_from(("Z", "+00:00", "z")),
).map("".join)
forms = st.sampled_from(sorted(FORMS))


def view(**options: Any) -> LogicalView:
    """Return the view of a table with these options."""
    return TableConfig.model_validate({"table": "events", **options}).view


def translated(text: str, **options: Any) -> Condition | None:
    """Return the stored form of a condition."""
    return stored_condition(parse_expression(text, {}), view(**options))


def stored(form: str, moment: str) -> dict[str, str]:
    """Return the wire form of the latest storable time that is not after a moment."""
    value = FORMS[form].to_stored(parse_instant(moment))[0]
    if FORMS[form].type == "N":
        return {"N": str(int(value))}
    return {"S": str(value)}


def instant_of(form: str, wire: dict[str, str]) -> int:
    """Return the instant of a stored value."""
    if "S" in wire:
        return parse_instant(wire["S"])
    return int(int(wire["N"]) * 10 ** (9 - FORMS[form].digits))


def check(form: str, text: str, item: dict[str, Any], expected: bool) -> None:
    """Check that the stored form of a condition has the expected result for an item."""
    timestamps = {"at": form, "to": form}
    condition = translated(text, timestamps=timestamps)
    assert condition is not None
    assert evaluate(condition, item) is expected


@given(forms, moments, moments, st.sampled_from(sorted(OPERATORS)), st.booleans(), st.booleans())
def test_times_are_compared_as_instants(
    form: str, there: str, asked: str, operator: str, mirrored: bool, denied: bool
) -> None:
    """Every form, operator and side is tried, with times between two storable ones."""
    item = {"at": stored(form, there)}
    text = f"'{asked}' {operator} at" if mirrored else f"at {operator} '{asked}'"
    one, other = instant_of(form, item["at"]), parse_instant(asked)
    expected = OPERATORS[operator](other, one) if mirrored else OPERATORS[operator](one, other)
    check(form, f"NOT {text}" if denied else text, item, expected is not denied)


@given(forms, moments, moments, moments)
def test_ranges_of_times_hold_instants(form: str, there: str, low: str, high: str) -> None:
    """BETWEEN includes both ends; an inverted range is empty."""
    item = {"at": stored(form, there)}
    at = instant_of(form, item["at"])
    expected = parse_instant(low) <= at <= parse_instant(high)
    check(form, f"at BETWEEN '{low}' AND '{high}'", item, expected)


@given(forms, moments, moments, moments, moments)
def test_times_may_lie_between_attributes(
    form: str, begins: str, ends: str, asked: str, other: str
) -> None:
    """One or both ends of a range may be attributes, and its subject a time."""
    item = {"at": stored(form, begins), "to": stored(form, ends)}
    at, to = (instant_of(form, item[name]) for name in ("at", "to"))
    instant, end = parse_instant(asked), parse_instant(other)
    check(form, f"'{asked}' BETWEEN at AND to", item, at <= instant <= to)
    check(form, f"'{asked}' BETWEEN at AND '{other}'", item, at <= instant <= end)
    check(form, f"'{asked}' BETWEEN '{other}' AND to", item, end <= instant <= to)
    check(form, f"to BETWEEN at AND '{other}'", item, at <= to <= end)
    check(form, f"to BETWEEN '{other}' AND at", item, end <= to <= at)


@given(forms, moments, moments, st.lists(moments, min_size=1, max_size=4))
def test_lists_of_times_hold_instants(form: str, there: str, to: str, options: list[str]) -> None:
    """The spelling of a time does not matter in a list, which may also have attributes."""
    item = {"at": stored(form, there), "to": stored(form, to)}
    at, end = (instant_of(form, item[name]) for name in ("at", "to"))
    instants = set(map(parse_instant, options))
    listed = ", ".join(f"'{option}'" for option in options)
    check(form, f"at IN ({listed})", item, at in instants)
    check(form, f"at IN ({listed}, to)", item, at in instants | {end})
    first = parse_instant(options[0])
    check(form, f"'{options[0]}' IN (at)", item, first == at)
    check(form, f"'{options[0]}' IN (at, to)", item, first in (at, end))
    rest = {parse_instant(option) for option in options[1:]}
    others = "".join(f", '{option}'" for option in options[1:])
    check(form, f"'{options[0]}' IN (to{others})", item, first in rest | {end})


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("text", ["at = {}", "at < {}", "at >= {}", "at IN ({})",
                                  "at BETWEEN {} AND {}", "{} = at", "{} IN (at)"])  # fmt: skip
def test_a_missing_time_compares_with_none(form: str, text: str) -> None:
    """It is different from any time; trap 14."""
    for moment in ("'2026-01-01'", "'2026-01-01T00:00:00.0000005Z'"):
        check(form, text.format(moment, moment), {}, False)
        check(form, f"at <> {moment}", {}, True)
        check(form, f"NOT at = {moment}", {}, True)


@pytest.mark.parametrize(
    ("text", "stored_text"),
    [
        ("at > '2026-01-01'", "at > '2026-01-01T00:00:00Z'"),
        ("at > '2026-01-01T02:00:00+02:00'", "at > '2026-01-01T00:00:00Z'"),
        ("at < '2026-01-01T00:00:00.5Z'", "at <= '2026-01-01T00:00:00Z'"),
        ("at <= '2026-01-01T00:00:00.5Z'", "at <= '2026-01-01T00:00:00Z'"),
        ("at > '2026-01-01T00:00:00.5Z'", "at > '2026-01-01T00:00:00Z'"),
        ("at >= '2026-01-01T00:00:00.5Z'", "at > '2026-01-01T00:00:00Z'"),
        ("'2026-01-01T00:00:00.5Z' < at", "at > '2026-01-01T00:00:00Z'"),
        (
            "at BETWEEN '2026-01-01T00:00:00.5Z' AND '2026-01-01T00:00:09.5Z'",
            "at > '2026-01-01T00:00:00Z' AND at <= '2026-01-01T00:00:09Z'",
        ),
        (
            "at IN ('2026-01-01', '2026-01-01T00:00:00.5Z', other)",
            None,
        ),
        ("at IN ('2026-01-01', '2026-01-01T00:00:00.5Z')", "at IN ('2026-01-01T00:00:00Z')"),
        ("begins_with(at, '2026-01')", "begins_with(at, '2026-01')"),
        ("attribute_exists(at)", "attribute_exists(at)"),
        ("contains(tags, at)", "contains(tags, at)"),
        ("'2026-01-01' IN (at)", "at = '2026-01-01T00:00:00Z'"),
        ("seen >= '2026-01-01'", "seen >= 1767225600"),
        ("seen = '2026-01-01T00:00:00.5Z'", "seen = 1767225600.5"),
        ("seen IN ('2026-01-01', '1970-01-01')", "seen IN (1767225600, 0)"),
        ("NOT (at < '2026-01-01' OR x = 1)", "NOT (at < '2026-01-01T00:00:00Z' OR x = 1)"),
        ("x = '2026-01-01'", "x = '2026-01-01'"),
    ],
)
def test_times_are_converted_to_their_stored_form(text: str, stored_text: str | None) -> None:
    """Rounding changes no result; None means that forms differ and the condition is refused."""
    timestamps = {"at": "iso8601", "seen": "epoch_seconds"}
    if stored_text is None:
        with pytest.raises(ExpressionError, match="do not store times alike"):
            translated(text, timestamps=timestamps)
        return
    assert translated(text, timestamps=timestamps) == condition_of(stored_text)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("at = 5", 6, "compares a timestamp with what is no RFC 3339 time"),
        ("at > '2026'", 6, "compares a timestamp with what is no RFC 3339 time"),
        ("at = false", 6, "compares a timestamp with what is no RFC 3339 time"),
        ("at = null", 6, "compares a timestamp with what is no RFC 3339 time"),
        ("seen > 1767225600", 8, "compares a timestamp with what is no RFC 3339 time"),
        ("at = '2026-02-30'", 6, "compares a timestamp with what is no time of the calendar"),
        ("at IN ('2026-01-01', 'x')", 22, "compares a timestamp with what"),
        ("'x' IN (at)", 1, "compares a timestamp with what"),
        ("'2026-01-01' BETWEEN at AND 'x'", 29, "compares a timestamp with what"),
        ("at = seen", 6, "at and seen do not store times alike"),
        ("at = x", 6, "at and x do not store times alike"),
        ("x < seen", 1, "seen and x do not store times alike"),
        ("at.year = 2026", 1, "at is a timestamp, has no members"),
        ("size(at) > 3", 1, "size is not for timestamps"),
        ("contains(at, '2026')", 1, "contains is not for timestamps"),
        ("attribute_type(at, 'S')", 1, "attribute_type is not for timestamps"),
        ("begins_with(seen, '17')", 1, "begins_with is not for timestamps"),
        ("user.x = 'y'", 1, "user has no members"),
        ("user = 5", 8, "user is a string, not a number"),
        ("5 < user", 1, "user is a string, not a number"),
        ("user IN ('x', true)", 15, "user is a string, not a Boolean"),
        ("user BETWEEN 1 AND 2", 14, "user is a string, not a number"),
        ("contains(user, 5)", 16, "user is a string, not a number"),
        ("kind = ''", 8, "kind is part of a key and never empty"),
        ("kind = 'a#b'", 8, "kind is part of a key and must not contain '#'"),
        ("kind IN ('a', 'a#b')", 15, "kind is part of a key and must not contain '#'"),
        ("NOT code = 'ab'", 12, "code has 4 characters in the key"),
    ],
)
def test_invalid_conditions_are_refused(text: str, column: int, words: str) -> None:
    """The error names the column, and the expected value."""
    with pytest.raises(ExpressionError) as caught:
        translated(
            text,
            timestamps={"at": "iso8601", "seen": "epoch_seconds"},
            keys={"PK": "U#{user}", "SK": "{kind}#{code:4}"},
        )
    assert words in str(caught.value)
    assert caught.value.column == column


@pytest.mark.parametrize(
    "text",
    [
        "size(user) > 3", "2 <= size(user)", "size(user) BETWEEN 1 AND 5", "x IN (user, 5)",
        "attribute_type(user, 'S')", "kind > 'a#b'", "begins_with(kind, 'a#b')",
        "contains(kind, '#')", "code < 'abcdefg'", "user = kind", "kind <> x", "user = 'a#b'",
    ],
)  # fmt: skip
def test_fields_are_strings_like_others(text: str) -> None:
    """Only an equality must have a value that the key can hold; other comparisons may be false."""
    keys = {"PK": "U#{user}", "SK": "{kind}#{code:4}"}
    assert translated(text, keys=keys) == condition_of(text)


def test_expired_items_are_left_out() -> None:
    """They are left out with any condition, and without one."""
    hiding = view(time_to_live="gone_at", hide_expired=True)
    for text in (None, "x = 1", "x = 1 OR y = 2"):
        condition = stored_condition(condition_of(text), hiding)
        assert condition is not None
        item = {"x": {"N": "1"}, "gone_at": {"N": str(NOW - 1)}}
        assert not evaluate(condition, hiding.expanded(item, NOW))
        assert evaluate(condition, hiding.expanded(item, NOW - 2))


def test_conditions_on_a_plain_table_are_unchanged() -> None:
    """The result is the very same condition."""
    condition = condition_of("at = 5 AND user.x = 1")
    assert stored_condition(condition, LogicalView()) is condition
    assert stored_condition(None, LogicalView()) is None
