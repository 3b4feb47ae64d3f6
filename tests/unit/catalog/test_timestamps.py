"""Timestamps: the texts that callers may write, and the forms in which times are stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.catalog.timestamps import FORMS, TimestampForm, parse_instant

SECOND: Final = 10**9
#: 2026-01-31T08:00:00Z.
MORNING: Final = 1_769_846_400 * SECOND
FIRST: Final = parse_instant("0001-01-01T00:00:00Z")
LAST: Final = parse_instant("9999-12-31T23:59:59.999999999Z")
TEXTS: Final = [form for form in FORMS.values() if form.is_text]
NUMBERS: Final = [form for form in FORMS.values() if not form.is_text]

instants = st.integers(FIRST, LAST)


def label(form: TimestampForm) -> str:
    """Return the name of a form for the name of a test."""
    return form.name


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-31T08:00:00Z", MORNING),
        ("2026-01-31t08:00:00z", MORNING),
        ("2026-01-31 08:00:00Z", MORNING),
        ("2026-01-31T08:00:00+00:00", MORNING),
        ("2026-01-31T08:00:00-00:00", MORNING),
        ("2026-01-31T10:30:00+02:30", MORNING),
        ("2026-01-30T23:00:00-09:00", MORNING),
        ("2026-02-01T07:59:00+23:59", MORNING),
        ("2026-01-31T08:00:00.0Z", MORNING),
        ("2026-01-31T08:00:00.5Z", MORNING + SECOND // 2),
        ("2026-01-31T08:00:00.000000001Z", MORNING + 1),
        ("2026-01-31T10:00:00.25+02:00", MORNING + SECOND // 4),
        ("2026-01-31", MORNING - 8 * 3600 * SECOND),
        ("2024-02-29", 1_709_164_800 * SECOND),
        ("1970-01-01", 0),
        ("1969-12-31T23:59:59.75Z", -SECOND // 4),
        ("0001-01-01", -62_135_596_800 * SECOND),
        ("9999-12-31T23:59:59Z", 253_402_300_799 * SECOND),
    ],
)
def test_rfc_3339_is_understood(text: str, instant: int) -> None:
    """It accepts offsets, nanoseconds, either case, and dates as midnight in UTC."""
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    "text",
    [
        "", "yesterday", "2026", "2026-01", "20260131", "1769846400", "2026-1-31", "2026-01-31T",
        "2026-01-31Z", "2026-01-31T08:00Z", "2026-01-31T08:00:00", "2026-01-31T08:00:00.Z",
        "2026-01-31T08:00:00,5Z", "2026-01-31T08:00:00.0000000001Z", "2026-01-31T08:00:00+0200",
        "2026-01-31T08:00:00+02", "2026-01-31T08:00:00+24:00", "2026-01-31T08:00:00+99:00",
        "2026-01-31T08:00:00+02:60", " 2026-01-31", "2026-01-31T08:00:00Z\n", "+2026-01-31",
        "\uff12\uff10\uff12\uff16-01-31", "2026-W05-6", "2026-01-31T08:00:00\u22122:00",
    ],
)  # fmt: skip
def test_garbage_is_no_time(text: str) -> None:
    """The forms of ISO 8601 that RFC 3339 leaves out are refused as well."""
    with pytest.raises(ValueError, match="is no RFC 3339 time, such as 2026-01-31T08:00:00Z"):
        parse_instant(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29", "2026-13-01", "2026-00-10", "2026-01-32", "0000-01-01",
        "2026-01-31T25:00:00Z", "2026-01-31T08:60:00Z", "2026-01-31T08:00:61Z",
        "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01",
    ],
)  # fmt: skip
def test_times_outside_the_calendar_are_refused(text: str) -> None:
    """A time that its offset moves out of the years 1 to 9999 is refused as well."""
    with pytest.raises(ValueError, match="is no time of the calendar"):
        parse_instant(text)


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("iso8601", "2026-01-31T08:00:00Z"),
        ("iso8601_milliseconds", "2026-01-31T08:00:00.250Z"),
        ("iso8601_microseconds", "2026-01-31T08:00:00.250000Z"),
        ("epoch_seconds", Decimal("1769846400.25")),
        ("epoch_milliseconds", Decimal(1_769_846_400_250)),
    ],
)
def test_each_form_stores_a_time_in_its_way(name: str, stored: str | Decimal) -> None:
    """A text form cuts off digits that it cannot hold, and reports that it is inexact."""
    found, exact = FORMS[name].to_stored(MORNING + SECOND // 4)
    assert found == stored
    assert exact is (name != "iso8601")


@pytest.mark.parametrize("form", TEXTS, ids=label)
@given(instants)
def test_texts_have_one_width(form: TimestampForm, instant: int) -> None:
    """The width is fixed from year 1 to 9999, so that a template knows where a time ends."""
    text, _ = form.to_stored(instant)
    assert isinstance(text, str)
    assert len(text) == form.width
    assert form.is_stored(text)


@pytest.mark.parametrize("form", TEXTS, ids=label)
@given(instants)
def test_an_inexact_text_is_the_latest_before_the_time(form: TimestampForm, instant: int) -> None:
    """The next text would be after the time; an exact text is the time itself."""
    text, exact = form.to_stored(instant)
    back = parse_instant(str(text))
    assert (back == instant) is exact
    assert 0 <= instant - back < 10 ** (9 - form.digits)


@pytest.mark.parametrize("form", FORMS.values(), ids=label)
@given(instants, instants)
def test_stored_forms_sort_as_times(form: TimestampForm, one: int, other: int) -> None:
    """Stored texts sort as bytes and stored numbers as numbers."""
    first, second = form.to_stored(one)[0], form.to_stored(other)[0]
    if one <= other:
        assert first <= second  # type: ignore[operator]
    else:
        assert first >= second  # type: ignore[operator]


@pytest.mark.parametrize("form", NUMBERS, ids=label)
@given(instants)
def test_numbers_represent_every_time_exactly(form: TimestampForm, instant: int) -> None:
    """A number has decimals if the time needs them."""
    number, exact = form.to_stored(instant)
    assert exact
    assert Decimal(number).scaleb(9 - form.digits) == instant


@pytest.mark.parametrize("form", FORMS.values(), ids=label)
@given(instants)
def test_shown_times_can_be_parsed(form: TimestampForm, instant: int) -> None:
    """A caller may use a returned time in a condition."""
    unit = 10 ** (9 - form.digits)
    whole = instant // unit * unit
    stored, exact = form.to_stored(whole)
    shown = form.to_rfc3339(str(stored))
    assert exact
    assert shown is not None
    assert parse_instant(shown) == whole


@pytest.mark.parametrize(
    ("name", "stored", "shown"),
    [
        ("epoch_seconds", "0", "1970-01-01T00:00:00Z"),
        ("epoch_seconds", "1.7698464E9", "2026-01-31T08:00:00Z"),
        ("epoch_seconds", "1769846400.0", "2026-01-31T08:00:00Z"),
        ("epoch_seconds", "-1", "1969-12-31T23:59:59Z"),
        ("epoch_milliseconds", "1769846400250", "2026-01-31T08:00:00.250Z"),
        ("epoch_milliseconds", "-62135596800000", "0001-01-01T00:00:00.000Z"),
        ("epoch_seconds", "1769846400.5", None),
        ("epoch_seconds", "-62135596801", None),
        ("epoch_seconds", "253402300800", None),
        ("epoch_seconds", "1769846400000", None),
        ("epoch_milliseconds", "9.9E125", None),
        ("epoch_seconds", "1E-130", None),
        ("iso8601", "whatever is there", "whatever is there"),
    ],
)
def test_stored_values_are_shown_as_times(name: str, stored: str, shown: str | None) -> None:
    """A value that is not a time in the form is not converted."""
    assert FORMS[name].to_rfc3339(stored) == shown


@pytest.mark.parametrize(
    "text",
    ["2026-01-31", "2026-01-31T08:00:00.000Z", "2026-01-31T08:00:00+00:00", "2026-01-31t08:00:00z",
     "2026-02-31T08:00:00Z", "user-1", ""],
)  # fmt: skip
def test_other_texts_are_not_in_the_form(text: str) -> None:
    """A text in another form is refused, even if it means the same time."""
    assert not FORMS["iso8601"].is_stored(text)


def test_the_forms_have_their_types() -> None:
    """Text forms are strings, counts since the epoch are numbers."""
    assert {name: form.type for name, form in FORMS.items()} == {
        "iso8601": "S",
        "iso8601_milliseconds": "S",
        "iso8601_microseconds": "S",
        "epoch_seconds": "N",
        "epoch_milliseconds": "N",
    }
    assert [FORMS[name].width for name in ("iso8601", "iso8601_milliseconds")] == [20, 24]


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_agree_with_pythons_own(moment: datetime) -> None:
    """Python's datetime agrees down to the microsecond."""
    since = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert parse_instant(moment.isoformat()) == since * 1000
