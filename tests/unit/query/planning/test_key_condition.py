"""Key conditions always include every match, and never an invalid value."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.catalog.schema import KeyAttribute, KeySchema
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.key_condition import (
    Selectivity,
    key_condition,
    merged_choices,
    missing_partition,
    partitions_needed,
)
from tests.unit.query.planning.keys import KEY, MULTI, A, key_condition_of, terms_of


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("p = 'a' AND q = 'b'", ()),
        ("'a' = p AND q IN ('b')", ()),
        ("p = 'a'", ("q",)),
        ("p > 'a' AND q IN ('a', 'b')", ("p",)),
        ("p IN ('a', 'b') AND q IN ('a', 'b')", ()),
        ("p IN ('a', x) AND q IN (p)", ("p", "q")),
        ("p = 'a' OR q = 'b'", ("p", "q")),
        ("p.x = 'a' AND q = p", ("p", "q")),
        ("NOT p = 'a'", ("p", "q")),
        ("p <> 'a' AND q BETWEEN 'b' AND 'b'", ("p", "q")),
        ("begins_with(p, 'a') AND size(q) = 1", ("p", "q")),
    ],
)
def test_partition_attributes_are_fixed_by_equality_alone(
    text: str, missing: tuple[str, ...]
) -> None:
    """One literal or several fix an attribute; another attribute never does."""
    assert missing_partition(MULTI, terms_of(text)) == missing


@pytest.mark.parametrize(
    ("condition", "terms", "rest", "selectivity"),
    [
        ("", "", "", Selectivity.PARTITION),
        ("s = 1", "s = 1", "", Selectivity.EQUAL),
        ("1 = s", "s = 1", "", Selectivity.EQUAL),
        ("s IN (1)", "s = 1", "", Selectivity.EQUAL),
        ("s = 1 AND s >= 1 AND s BETWEEN 0 AND 1", "s = 1", "", Selectivity.EQUAL),
        ("s = 1 AND s <= 3 AND s < 3 AND s > 0", "s = 1", "", Selectivity.EQUAL),
        ("s = 1 AND s <> 2", "s = 1", "s <> 2", Selectivity.EQUAL),
        ("s = 1 AND s IN (1, 2)", "s = 1", "s IN (1, 2)", Selectivity.EQUAL),
        ("s > 1", "s > 1", "", Selectivity.HALF_OPEN),
        ("1 >= s", "s <= 1", "", Selectivity.HALF_OPEN),
        ("s > 1 AND s > 2 AND s >= 2", "s > 2", "", Selectivity.HALF_OPEN),
        ("s >= 2 AND s > 2", "s > 2", "", Selectivity.HALF_OPEN),
        ("s < 3 AND s <= 2 AND s < 2", "s < 2", "", Selectivity.HALF_OPEN),
        ("s >= 1 AND s <= 3", "s BETWEEN 1 AND 3", "", Selectivity.RANGE),
        ("s > 1 AND s < 3", "s BETWEEN 1 AND 3", "s > 1 AND s < 3", Selectivity.RANGE),
        ("s >= 1 AND 3 > s", "s BETWEEN 1 AND 3", "3 > s", Selectivity.RANGE),
        ("s BETWEEN 1 AND 3", "s BETWEEN 1 AND 3", "", Selectivity.RANGE),
        (
            "s BETWEEN 1 AND 5 AND s BETWEEN 3 AND 9",
            "s BETWEEN 3 AND 5",
            "",
            Selectivity.RANGE,
        ),
        ("s BETWEEN 1 AND 5 AND s < 5", "s BETWEEN 1 AND 5", "s < 5", Selectivity.RANGE),
        ("s >= 2 AND s <= 2", "s BETWEEN 2 AND 2", "", Selectivity.RANGE),
        ("s <> 1", "", "s <> 1", Selectivity.PARTITION),
        ("1 <> s", "", "1 <> s", Selectivity.PARTITION),
        ("s IN (1, 2)", "", "s IN (1, 2)", Selectivity.PARTITION),
        ("s > 1 OR s < 0", "", "s > 1 OR s < 0", Selectivity.PARTITION),
        ("NOT s > 1", "", "NOT s > 1", Selectivity.PARTITION),
        ("s > x AND x = 1", "", "s > x AND x = 1", Selectivity.PARTITION),
        ("size(s) > 1", "", "size(s) > 1", Selectivity.PARTITION),
    ],
)
def test_sort_conditions_become_one_condition(
    condition: str, terms: str, rest: str, selectivity: Selectivity
) -> None:
    """Two bounds become BETWEEN; conjuncts that it does not cover are checked elsewhere."""
    given_terms = (*terms_of("p = 'a'"), *terms_of(condition))
    found = key_condition(KEY, given_terms)
    assert found.branches == ((A,),)
    assert found.sort_conditions == terms_of(terms)
    assert tuple(term for term in given_terms if term not in found.covered) == terms_of(rest)
    assert found.selectivity is selectivity
    assert found.complete is (selectivity is Selectivity.EQUAL)


@pytest.mark.parametrize("bounds", ["s > 1 AND s < 3", "s >= 1 AND s < 3"])
def test_excluded_ends_are_approximated(bounds: str) -> None:
    """BETWEEN expresses them except for single values, so it wastes next to nothing."""
    found = key_condition_of(f"p = 'a' AND {bounds}")
    excluded = {term for term in terms_of(bounds) if "=" not in str(term.operator)}  # type: ignore[union-attr]
    assert found.approximated == excluded


@pytest.mark.parametrize(
    "bounds",
    [
        "s > 3 AND s < 1",
        "s BETWEEN 3 AND 1",
        "s > 1 AND s < 1",
        "s >= 1 AND s < 1",
        "s BETWEEN 1 AND 2 AND s > 2",
        "s = 1 AND s = 2",
        "s = 1 AND s IN (2)",
        "s = 1 AND s > 1",
        "s = 3 AND s BETWEEN 1 AND 2",
    ],
)
def test_sort_conditions_that_contradict_each_other_leave_no_partition(bounds: str) -> None:
    """DynamoDB refuses a BETWEEN with swapped ends; the result is empty without it."""
    assert key_condition_of(f"p = 'a' AND {bounds}").branches == ()
    assert key_condition_of(f"p IN ('a', 'b') AND {bounds}").branches == ()


def test_a_contradiction_may_follow_other_sort_attributes() -> None:
    """An equality does not hide that the next attribute's range is empty."""
    assert (
        key_condition_of("p = 'a' AND q = 'b' AND s = 1 AND t > 2 AND t < 2", MULTI).branches == ()
    )
    assert (
        key_condition_of("p = 'a' AND q = 'b' AND s = 1 AND t = 2 AND t < 2", MULTI).branches == ()
    )


@pytest.mark.parametrize(
    ("text", "branches"),
    [
        ("p = 'a'", "a"),
        ("p IN ('b', 'a', 'c')", "bac"),
        ("p IN ('b', 'a', 'b', 'a')", "ba"),
        ("p IN ('a', 'b', 'c') AND p IN ('d', 'c', 'b')", "bc"),
        ("p IN ('a', 'b') AND p = 'b'", "b"),
        ("'b' = p AND p IN ('a', 'b')", "b"),
        ("p IN ('a', 'b') AND p = 'c'", ""),
        ("p = 'a' AND p = 'b'", ""),
        ("p IN ('a', '')", "a"),
        (f"p IN ('{'x' * 2049}', 'b')", "b"),
        (f"p = '{'x' * 2049}'", ""),
        ("p = 'a' AND p IN ('b', x)", "a"),
    ],
)
def test_conjuncts_on_a_partition_attribute_are_intersected(text: str, branches: str) -> None:
    """Distinct values keep the caller's order; no key is empty or over 2,048 bytes."""
    found = key_condition_of(text)
    assert found.branches == tuple((Value("S", letter),) for letter in branches)
    assert partitions_needed(KEY, terms_of(text)) == len(branches)


def test_all_conjuncts_that_fix_a_partition_are_covered() -> None:
    """Each branch satisfies all of them; other conjuncts are still to be checked."""
    terms = terms_of("p IN ('a', 'b', 'c') AND p IN ('c', 'b', 'x') AND p > 'b' AND p IN ('c', x)")
    found = key_condition(KEY, terms)
    assert found.branches == ((Value("S", "b"),), (Value("S", "c"),))
    assert found.covered == {*terms[:2]}


def test_equal_numbers_are_one_partition() -> None:
    """Different spellings of a number make one partition."""
    key = KeySchema((KeyAttribute("p", "N"),), ())
    found = key_condition_of("p IN (1, 1.0, 10E-1, 2, 2.000, -0, 0)", key)
    assert [value.data for (value,) in found.branches] == [1, 2, 0]
    assert found.complete


def test_partitions_of_several_attributes_are_all_combinations() -> None:
    """The first attribute of the key varies slowest, in any order of the text."""
    text = "q IN ('x', 'y') AND p IN ('b', 'a')"
    found = key_condition_of(text, MULTI)
    assert [(p.data, q.data) for p, q in found.branches] == [
        ("b", "x"), ("b", "y"), ("a", "x"), ("a", "y"),
    ]  # fmt: skip
    assert partitions_needed(MULTI, terms_of(text)) == 4
    assert partitions_needed(MULTI, terms_of("q IN ('x', 'y')")) == 0


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("p = 'a'", False),
        ("p = 'a' AND s = 1", True),
        ("p IN ('a', 'b') AND s IN (1)", True),
        ("p = 'a' AND s BETWEEN 1 AND 1", False),
        ("p = 'a' AND s = 1 AND s < 5", True),
    ],
)
def test_a_key_is_complete_when_every_attribute_has_one_value(text: str, complete: bool) -> None:
    """A complete key names at most one item of the base table."""
    assert key_condition_of(text).complete is complete


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        ("p = 'a' OR p = 'b'", "p IN ('a', 'b')"),
        ("'a' = p OR p = 'b' OR 'a' = p", "p IN ('a', 'b', 'a')"),
        ("p IN ('a', 'b') OR p = 'c'", "p IN ('a', 'b', 'c')"),
        ("p IN ('a', x) OR p = 'c'", "p IN ('a', x, 'c')"),
        ("(p = 'a' OR p = 'b') OR (p = 'c' OR p = 'd')", "p IN ('a', 'b', 'c', 'd')"),
        ("doc.x[1] = 1 OR doc.x[1] = 2", "doc.x[1] IN (1, 2)"),
    ],
)
def test_an_or_of_equals_is_an_in(text: str, merged: str) -> None:
    """It must be on one attribute, with the attribute on either side."""
    assert merged_choices(parse_expression(text, {})) == parse_expression(merged, {})


@pytest.mark.parametrize(
    "text",
    [
        "p = 'a'",
        "p IN ('a', 'b')",
        "p = 'a' OR q = 'b'",
        "p = 'a' OR p > 'b'",
        "p = 'a' OR NOT p = 'b'",
        "p = x OR p = 'b'",
        "size(p) = 1 OR size(p) = 2",
        "size(p) IN (1, 2) OR p = 3",
        "p = 'a' OR (p = 'b' AND q = 'c')",
        "p = 'a' OR p.x = 'b'",
        "NOT (p = 'a' OR p = 'b')",
        "'a' IN (p, q) OR p = 'a'",
    ],
)
def test_any_other_or_stays_as_it_is(text: str) -> None:
    """An IN would have another meaning."""
    condition = parse_expression(text, {})
    assert merged_choices(condition) is condition


def test_a_prefix_is_a_range() -> None:
    """`begins_with` goes into the key condition, and other bounds are checked elsewhere."""
    key = KeySchema((KeyAttribute("p", "S"),), (KeyAttribute("s", "S"),))
    found = key_condition_of(
        "p = 'a' AND s > 'x1' AND begins_with(s, 'x') AND begins_with(s, 'x2')", key
    )
    assert found.sort_conditions == terms_of("begins_with(s, 'x')")
    assert found.covered == {*terms_of("p = 'a'"), *found.sort_conditions}
    assert found.selectivity is Selectivity.RANGE


@pytest.mark.parametrize(
    "value", [Value("S", "é" * 512), Value("B", b"\x00"), Value("B", b"x" * 1024)]
)
def test_values_that_a_key_may_have_are_bounds(value: Value) -> None:
    """Texts and bytes count alike, up to the 1,024 bytes of a sort key."""
    key = KeySchema((KeyAttribute("p", "S"),), (KeyAttribute("s", value.type),))
    for text in ("s > :v", "s BETWEEN :v AND :v", "begins_with(s, :v)"):
        found = key_condition_of(f"p = 'a' AND {text}", key, v=value)
        assert found.sort_conditions == (parse_expression(text, {"v": value}),)
        assert found.covered == {*terms_of("p = 'a'"), *found.sort_conditions}


@pytest.mark.parametrize(
    "value", [Value("S", ""), Value("S", "é" * 513), Value("B", b""), Value("B", b"x" * 1025)]
)
def test_values_that_no_key_has_stay_out(value: Value) -> None:
    """Empty and oversized values are errors in a key condition, but valid elsewhere."""
    key = KeySchema((KeyAttribute("p", "S"),), (KeyAttribute("s", value.type),))
    for text in ("s > :v", "s BETWEEN :v AND :v", "begins_with(s, :v)"):
        found = key_condition_of(f"p = 'a' AND {text}", key, v=value)
        assert found.sort_conditions == ()
        assert found.covered == {*terms_of("p = 'a'")}


@pytest.mark.parametrize(
    ("condition", "terms"),
    [
        ("s = 1 AND t = 2 AND u = 'x'", "s = 1 AND t = 2 AND u = 'x'"),
        ("s = 1 AND t > 2 AND u = 'x'", "s = 1 AND t > 2"),
        ("s > 1 AND t = 2", "s > 1"),
        ("t = 2 AND u = 'x'", ""),
        ("u = 'x' AND s = 1", "s = 1"),
        ("s = 1 AND t >= 2 AND t < 5", "s = 1 AND t BETWEEN 2 AND 5"),
    ],
)
def test_keys_of_several_attributes_are_used_from_left_to_right(condition: str, terms: str) -> None:
    """Equality applies to each attribute up to the first that is missing or has a range."""
    found = key_condition_of(f"q = 'b' AND p = 'a' AND {condition}", MULTI)
    assert found.branches == ((A, Value("S", "b")),)
    assert found.sort_conditions == terms_of(terms)
