"""The stored form of conditions on timestamps and on fields of keys."""

from __future__ import annotations

from typing import Final

import pytest

from dynamodb_processor_server.catalog.config import TableConfig
from dynamodb_processor_server.catalog.schema import KeySchema, Table
from dynamodb_processor_server.query.expression.ast import conjuncts
from dynamodb_processor_server.query.expression.formatter import ExpressionFormatter
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.expression.validation import ExpressionError
from dynamodb_processor_server.query.planning.key_templates import (
    derived_key_conditions,
    unfixed_fields,
)
from dynamodb_processor_server.query.planning.logical_attributes import (
    implicit_conditions,
    stored_condition,
)
from tests.support.datasets import Schema
from tests.unit.query.tables import make_table

SINGLE: Final = Schema("single", "PK", "SK", (), {"PK": "S", "SK": "S"})
TABLE: Final = make_table(
    SINGLE,
    timestamps={"at": "iso8601", "then": "iso8601", "seen": "epoch_seconds"},
    keys={"PK": "T#{tenant}#U#{user}", "SK": "{kind}#{at}#{id}"},
)


def stored(text: str, table: Table = TABLE) -> str:
    """Return the text of a condition's stored form."""
    condition = stored_condition(parse_expression(text, {}), table.config.view)
    assert condition is not None
    return ExpressionFormatter().condition(condition)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("seen = '1970-01-01T00:01:00Z'", "seen = 60"),
        ("seen < '1970-01-01T00:00:00.5Z'", "seen < 0.5"),
        ("'1970-01-01' <= seen", "seen >= 0"),
        ("at = '2026-01-02T03:04:05+01:00'", "at = '2026-01-02T02:04:05Z'"),
        ("at <> '2026-01-02T03:04:05.000Z'", "at <> '2026-01-02T03:04:05Z'"),
        # Half a second after a time that can be stored:
        ("at < '2026-01-02T03:04:05.5Z'", "at <= '2026-01-02T03:04:05Z'"),
        ("at <= '2026-01-02T03:04:05.5Z'", "at <= '2026-01-02T03:04:05Z'"),
        ("at > '2026-01-02T03:04:05.5Z'", "at > '2026-01-02T03:04:05Z'"),
        ("at >= '2026-01-02T03:04:05.5Z'", "at > '2026-01-02T03:04:05Z'"),
        ("'2026-01-02T03:04:05.5Z' > at", "at <= '2026-01-02T03:04:05Z'"),
        (
            "at = '2026-01-02T03:04:05.5Z'",
            "at < '2026-01-02T03:04:05Z' AND at > '2026-01-02T03:04:05Z'",
        ),
        ("at <> '2026-01-02T03:04:05.5Z'", "attribute_exists(at) OR attribute_not_exists(at)"),
        (
            "at BETWEEN '2026-01-01' AND '2026-01-01T00:00:00.5Z'",
            "at >= '2026-01-01T00:00:00Z' AND at <= '2026-01-01T00:00:00Z'",
        ),
        ("at BETWEEN then AND '2026-01-01'", "at >= then AND at <= '2026-01-01T00:00:00Z'"),
        (
            "'2026-01-01T00:00:00.5Z' BETWEEN at AND then",
            "at <= '2026-01-01T00:00:00Z' AND then > '2026-01-01T00:00:00Z'",
        ),
        ("at IN ('2026-01-01', '2026-01-01T00:00:00.5Z')", "at IN ('2026-01-01T00:00:00Z')"),
        ("at IN ('2026-01-01T00:00:00.5Z', then)", "at IN (then)"),
        (
            "at IN ('2026-01-01T00:00:00.5Z')",
            "at < '2026-01-01T00:00:00Z' AND at > '2026-01-01T00:00:00Z'",
        ),
        (
            "'2026-01-02' BETWEEN '2026-01-01' AND at",
            "(attribute_exists(at) OR attribute_not_exists(at)) AND at >= '2026-01-02T00:00:00Z'",
        ),
        (
            "'2026-01-02' IN ('2026-01-01', at)",
            "attribute_exists(at) AND attribute_not_exists(at) OR at = '2026-01-02T00:00:00Z'",
        ),
        ("at < then", "at < then"),
        ("begins_with(at, '2026-01')", "begins_with(at, '2026-01')"),
        ("attribute_exists(seen)", "attribute_exists(seen)"),
        (
            "NOT (seen = '1970-01-01' AND tenant = 'a' OR other = '1970-01-01')",
            "NOT (seen = 0 AND tenant = 'a' OR other = '1970-01-01')",
        ),
        ("attribute_type(user, 'N') OR user > 'a#'", "attribute_type(user, 'N') OR user > 'a#'"),
        ("id = 'with#hash' AND size(id) > 1", "id = 'with#hash' AND size(id) > 1"),
    ],
)
def test_times_are_compared_in_their_stored_form(text: str, meaning: str) -> None:
    """A time between two storable ones is rounded so that the same items are found."""
    assert stored(text) == meaning


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("a = 1 AND at = 'noon'", 16, "compares a timestamp with what is no RFC 3339 time"),
        ("seen = 60", 8, "compares a timestamp with what is no RFC 3339 time"),
        ("at < '2026-02-30'", 6, "no time of the calendar"),
        ("at.x = '2026-01-01'", 1, "at is a timestamp, has no members|at has no members"),
        ("seen.x = '2026-01-01'", 1, "seen is a timestamp, has no members"),
        ("size(seen) > 1", 1, "size is not for timestamps"),
        ("seen = at", 8, "seen and at do not store times alike|do not store times alike"),
        ("contains(at, '2026')", 1, "contains is not for timestamps"),
        ("begins_with(seen, '2026')", 1, "begins_with is not for timestamps"),
        ("attribute_type(seen, 'N')", 1, "compare seen with =, <, BETWEEN or IN"),
        ("user.x = 'a'", 1, "user has no members"),
        ("user = 5", 8, "user is a string, not a number"),
        ("tenant IN ('a', 'b#U#c')", 17, "tenant is part of a key and must not contain '#U#'"),
        ("kind = 'a#b'", 8, "kind is part of a key and must not contain '#'"),
        ("'' = user", 1, "user is part of a key and never empty"),
    ],
)
def test_invalid_conditions_are_refused_with_their_column(
    text: str, column: int, words: str
) -> None:
    """Invalid times, members, sizes, types and values of keys are refused."""
    with pytest.raises(ExpressionError, match=words) as caught:
        stored(text)
    assert caught.value.column == column


def test_expired_items_are_left_out_of_every_query() -> None:
    """This holds if the table hides them; conditions on a plain table do not change."""
    table = make_table(SINGLE, time_to_live="expires", hide_expired=True)
    (term,) = implicit_conditions(table.config.view)
    condition = parse_expression("a = 1 OR b = 2", {})
    assert conjuncts(stored_condition(condition, table.config.view)) == (condition, term)
    assert stored_condition(None, table.config.view) == term
    plain = TableConfig(table="plain").view
    assert stored_condition(condition, plain) is condition
    assert stored_condition(None, plain) is None
    assert implicit_conditions(plain) == ()


def derived_conditions(
    text: str, partition: str = "T#{tenant}#U#{user}", sort: str = "{kind}#{at}#{id}"
) -> list[tuple[str, int, bool]]:
    """Return the conditions derived for each key: text, number of sources, and exactness."""
    table = make_table(SINGLE, timestamps={"at": "iso8601"}, keys={"PK": partition, "SK": sort})
    key: KeySchema = table.schema.base.key.with_templates_of(table.config.view)
    terms = conjuncts(stored_condition(parse_expression(text, {}), table.config.view))
    found = derived_key_conditions(key, terms)
    return [
        (
            " AND ".join(ExpressionFormatter().condition(term) for term in derived.terms),
            len(derived.sources),
            derived.is_exact,
        )
        for derived in found
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tenant = 'a' AND user = 'b'", ("PK IN ('T#a#U#b')", 2, True)),
        (
            "user IN ('b', 'c') AND tenant IN ('a', 'd')",
            ("PK IN ('T#a#U#b', 'T#a#U#c', 'T#d#U#b', 'T#d#U#c')", 2, True),
        ),
        ("tenant = 'a' AND user > 'b'", ("", 0, False)),
        ("tenant = 'a'", ("", 0, False)),
    ],
)
def test_a_partition_key_is_composed_of_all_its_fields(
    text: str, expected: tuple[str, int, bool]
) -> None:
    """Each combination of the fields' values makes one key."""
    assert derived_conditions(text)[0] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind = 'k' AND at = '2026-01-01' AND id = 'x'",
         ("SK = 'k#2026-01-01T00:00:00Z#x'", 3, True)),
        ("kind = 'k'", ("begins_with(SK, 'k#')", 1, False)),
        ("kind = 'k' AND id = 'x'", ("begins_with(SK, 'k#')", 1, False)),
        ("id = 'x'", ("", 0, False)),
        ("begins_with(kind, 'k')", ("begins_with(SK, 'k')", 1, False)),
        ("kind > 'k'", ("", 0, False)),
        ("kind = 'k' AND begins_with(at, '2026-01')", ("begins_with(SK, 'k#2026-01')", 2, False)),
        ("kind = 'k' AND at >= '2026-01-01' AND at < '2026-02-01'",
         ("SK >= 'k#2026-01-01T00:00:00Z' AND SK < 'k#2026-02-01T00:00:00Z'", 3, False)),
        ("kind = 'k' AND at > '2026-01-01'",
         ("SK > 'k#2026-01-01T00:00:00Z' AND SK < 'k$'", 2, False)),
        ("kind = 'k' AND at <= '2026-01-01'",
         ("SK >= 'k#' AND SK < 'k#2026-01-01T00:00:00['", 2, False)),
        ("kind = 'k' AND at < '2026-01-01'",
         ("SK >= 'k#' AND SK < 'k#2026-01-01T00:00:00Z'", 2, False)),
        ("kind = 'k' AND at = '2026-01-01' AND id <= 'x'",
         ("SK >= 'k#2026-01-01T00:00:00Z#' AND SK <= 'k#2026-01-01T00:00:00Z#x'", 3, False)),
    ],
)  # fmt: skip
def test_a_sort_key_is_narrowed_by_its_fields_from_the_left(
    text: str, expected: tuple[str, int, bool]
) -> None:
    """Fields with one value come first, then a prefix, or a range if the field sorts as the key."""
    assert derived_conditions(text)[1] == expected


def test_a_key_may_have_a_template_beside_one_that_has_none() -> None:
    """Conditions on its fields still narrow the key."""
    table = make_table(SINGLE, keys={"SK": "{kind}#{id}"})
    terms = conjuncts(parse_expression("PK = 'p' AND kind = 'k'", {}))
    key = table.schema.base.key.with_templates_of(table.config.view)
    (derived,) = [found for found in derived_key_conditions(key, terms) if found.terms]
    assert [ExpressionFormatter().condition(term) for term in derived.terms] == [
        "begins_with(SK, 'k#')"
    ]


@pytest.mark.parametrize(
    ("sort", "text", "expected"),
    [
        ("{id}", "id > 'x'", "SK > 'x'"),
        ("{id}", "id <= 'x'", "SK <= 'x'"),
        ("{id:3}#{kind}", "id < 'abc'", "SK < 'abc'"),
        ("{id:3}#{kind}", "id <= 'abc'", "SK < 'abd'"),
        ("\ud7ff{id}", "id > 'x'", "SK > '\ud7ffx' AND SK < '\ue000'"),
        ("a\U0010ffff{id}", "id > 'x'",
         "SK > 'a\U0010ffffx' AND SK < 'b'"),
    ],
)  # fmt: skip
def test_ranges_end_before_the_next_key(sort: str, text: str, expected: str) -> None:
    """This holds for any last character of the common prefix."""
    assert derived_conditions(text, sort=sort)[1][0] == expected


def test_too_many_keys_are_not_composed() -> None:
    """A thousand keys are composed, which is more than the partitions that a query may read."""
    users = ", ".join(f"'{number}'" for number in range(1_000))
    assert derived_conditions(f"tenant = 'a' AND user IN ({users})")[0][1:] == (2, True)
    assert derived_conditions(f"tenant IN ('a', 'b') AND user IN ({users})")[0] == ("", 0, False)


def test_fields_that_are_not_fixed_are_named() -> None:
    """Their order is that of the template."""
    template = TABLE.config.view.templates[0]
    terms = conjuncts(parse_expression("user > 'a'", {}))
    assert unfixed_fields(template, terms) == ["tenant", "user"]
    terms = conjuncts(parse_expression("tenant = 'a'", {}))
    assert unfixed_fields(template, terms) == ["user"]
