"""What a key condition carries: always a range that holds every match, never an illegal one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.catalog.schema import KeyAttribute, KeySchema
from dynamodb_processor_server.query.evaluator import evaluate
from dynamodb_processor_server.query.key_conditions import (
    KeyCondition,
    Narrowing,
    key_condition,
    missing_partition,
)
from dynamodb_processor_server.query.model import (
    Between,
    Comparison,
    Condition,
    Function,
    Literal,
    Path,
    conjunction,
    conjuncts,
)
from dynamodb_processor_server.query.parser import parse_expression
from dynamodb_processor_server.query.values import Value

KEY = KeySchema((KeyAttribute("p", "S"),), (KeyAttribute("s", "N"),))
MULTI = KeySchema(
    (KeyAttribute("p", "S"), KeyAttribute("q", "S")),
    (KeyAttribute("s", "N"), KeyAttribute("t", "N"), KeyAttribute("u", "S")),
)


def of(text: str, key: KeySchema = KEY, **parameters: Value) -> KeyCondition:
    """Return the key condition for a text."""
    return key_condition(key, conjuncts(parse_expression(text, parameters)))


def terms_of(text: str) -> tuple[Condition, ...]:
    """Return the conjuncts of a text; none for an empty one."""
    return conjuncts(parse_expression(text, {})) if text else ()


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("p = 'a' AND q = 'b'", ()),
        ("'a' = p AND q IN ('b')", ()),
        ("p = 'a'", ("q",)),
        ("p > 'a' AND q IN ('a', 'b')", ("p", "q")),
        ("p = 'a' OR q = 'b'", ("p", "q")),
        ("p.x = 'a' AND q = p", ("p", "q")),
        ("NOT p = 'a'", ("p", "q")),
        (f"p = '{'x' * 2049}' AND q = '{'x' * 2048}'", ("p",)),
    ],
)
def test_partition_attributes_are_fixed_by_equality_alone(
    text: str, missing: tuple[str, ...]
) -> None:
    """With a literal that DynamoDB takes as a key: not empty, at most 2,048 bytes."""
    assert missing_partition(MULTI, terms_of(text)) == missing


@pytest.mark.parametrize(
    ("condition", "terms", "rest", "narrowing"),
    [
        ("", "", "", Narrowing.PARTITION),
        ("s = 1", "s = 1", "", Narrowing.EQUAL),
        ("1 = s", "s = 1", "", Narrowing.EQUAL),
        ("s IN (1)", "s = 1", "", Narrowing.EQUAL),
        ("s = 1 AND s = 2", "s = 1", "s = 2", Narrowing.EQUAL),
        ("s > 1", "s > 1", "", Narrowing.HALF_OPEN),
        ("1 >= s", "s <= 1", "", Narrowing.HALF_OPEN),
        ("s > 1 AND s > 2 AND s >= 2", "s > 2", "", Narrowing.HALF_OPEN),
        ("s < 3 AND s <= 2 AND s < 2", "s < 2", "", Narrowing.HALF_OPEN),
        ("s >= 1 AND s <= 3", "s BETWEEN 1 AND 3", "", Narrowing.RANGE),
        ("s > 1 AND s < 3", "s BETWEEN 1 AND 3", "s > 1 AND s < 3", Narrowing.RANGE),
        ("s >= 1 AND 3 > s", "s BETWEEN 1 AND 3", "3 > s", Narrowing.RANGE),
        ("s BETWEEN 1 AND 3", "s BETWEEN 1 AND 3", "", Narrowing.RANGE),
        (
            "s BETWEEN 1 AND 5 AND s BETWEEN 3 AND 9",
            "s BETWEEN 3 AND 5",
            "",
            Narrowing.RANGE,
        ),
        ("s BETWEEN 1 AND 5 AND s < 5", "s BETWEEN 1 AND 5", "s < 5", Narrowing.RANGE),
        ("s >= 2 AND s <= 2", "s BETWEEN 2 AND 2", "", Narrowing.RANGE),
        ("s <> 1", "", "s <> 1", Narrowing.PARTITION),
        ("s IN (1, 2)", "", "s IN (1, 2)", Narrowing.PARTITION),
        ("s > 1 OR s < 0", "", "s > 1 OR s < 0", Narrowing.PARTITION),
        ("NOT s > 1", "", "NOT s > 1", Narrowing.PARTITION),
        ("s > x AND x = 1", "", "s > x AND x = 1", Narrowing.PARTITION),
        ("size(s) > 1", "", "size(s) > 1", Narrowing.PARTITION),
    ],
)
def test_sort_conditions_become_one_term(
    condition: str, terms: str, rest: str, narrowing: Narrowing
) -> None:
    """Two bounds make BETWEEN, and what that does not say in full is left for others to check."""
    given_terms = (*terms_of("p = 'a'"), *terms_of(condition))
    found = key_condition(KEY, given_terms)
    assert found.terms == (*terms_of("p = 'a'"), *terms_of(terms))
    assert tuple(term for term in given_terms if term not in found.carried) == terms_of(rest)
    assert found.narrowing is narrowing
    assert not found.empty


@pytest.mark.parametrize("bounds", ["s > 1 AND s < 3", "s >= 1 AND s < 3"])
def test_excluded_ends_are_near(bounds: str) -> None:
    """BETWEEN says them but for single values, which wastes next to nothing."""
    found = of(f"p = 'a' AND {bounds}")
    assert found.near == {term for term in terms_of(bounds) if "=" not in str(term.operator)}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "bounds",
    [
        "s > 3 AND s < 1",
        "s BETWEEN 3 AND 1",
        "s > 1 AND s < 1",
        "s >= 1 AND s < 1",
        "s BETWEEN 1 AND 2 AND s > 2",
    ],
)
def test_ranges_that_hold_nothing_are_empty(bounds: str) -> None:
    """DynamoDB refuses BETWEEN with its ends swapped; the answer is known without it."""
    assert of(f"p = 'a' AND {bounds}").empty


def test_a_prefix_is_a_range() -> None:
    """`begins_with` goes into the key condition, and other bounds are left to be checked."""
    key = KeySchema((KeyAttribute("p", "S"),), (KeyAttribute("s", "S"),))
    found = of("p = 'a' AND s > 'x1' AND begins_with(s, 'x') AND begins_with(s, 'x2')", key)
    assert found.terms == (*terms_of("p = 'a'"), *terms_of("begins_with(s, 'x')"))
    assert found.carried == {*found.terms}
    assert found.narrowing is Narrowing.RANGE


@pytest.mark.parametrize(
    "value", [Value("S", ""), Value("S", "é" * 513), Value("B", b""), Value("B", b"x" * 1025)]
)
def test_values_that_no_key_has_stay_out(value: Value) -> None:
    """Empty and oversized values would be errors in a key condition; elsewhere they are legal."""
    key = KeySchema((KeyAttribute("p", "S"),), (KeyAttribute("s", value.type),))
    for text in ("s > :v", "s BETWEEN :v AND :v", "begins_with(s, :v)"):
        found = of(f"p = 'a' AND {text}", key, v=value)
        assert found.terms == terms_of("p = 'a'")
        assert found.carried == {*found.terms}


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
    """Equality on each, until one is missing or has a range, which is the last."""
    found = of(f"q = 'b' AND p = 'a' AND {condition}", MULTI)
    assert found.terms == (*terms_of("p = 'a' AND q = 'b'"), *terms_of(terms))


_numbers = st.integers(-2, 2).map(lambda n: Literal(Value("N", Decimal(n))))
_sort = Path(("s",))
_operators = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
_conjuncts: st.SearchStrategy[Condition] = st.one_of(
    st.builds(Comparison, _operators, st.just(_sort), _numbers),
    st.builds(Comparison, _operators, _numbers, st.just(_sort)),
    st.builds(Between, st.just(_sort), _numbers, _numbers),
    st.builds(Function, st.just("attribute_exists"), st.just(_sort)),
)


@given(st.lists(_conjuncts, max_size=4))
def test_terms_and_what_they_do_not_carry_say_what_was_asked(conditions: list[Condition]) -> None:
    """For every sort key: key condition and remaining conjuncts together equal the condition."""
    terms = (*terms_of("p = 'a'"), *conditions)
    found = key_condition(KEY, terms)
    rest = tuple(term for term in terms if term not in found.carried)
    for number in range(-3, 4):
        item: dict[str, Any] = {"p": {"S": "a"}, "s": {"N": str(number)}}
        asked = evaluate(_all(terms), item)
        read = not found.empty and evaluate(_all(found.terms), item)
        assert (read and (not rest or evaluate(_all(rest), item))) is asked
    assert len([term for term in found.terms if "s" in str(term)]) <= 2
    assert found.near.isdisjoint(found.carried)


def _all(terms: tuple[Condition, ...]) -> Condition:
    condition = conjunction(terms)
    assert condition is not None
    return condition
