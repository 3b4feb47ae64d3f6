"""A key condition and the remaining conjuncts together are equivalent to the condition."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.query.expression.ast import (
    Between,
    Comparison,
    Condition,
    Function,
    In,
    Literal,
    Or,
    Path,
    conjunction,
)
from dynamodb_processor_server.query.expression.evaluator import evaluate
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.key_condition import (
    key_condition,
    merged_choices,
)
from tests.unit.query.planning.keys import KEY, A, terms_of

_partitions = st.sampled_from("abc").map(lambda letter: Literal(Value("S", letter)))
_partition = Path(("p",))
_choices: st.SearchStrategy[Condition] = st.one_of(
    st.builds(Comparison, st.just("="), st.just(_partition), _partitions),
    st.lists(_partitions, min_size=1, max_size=4).map(lambda o: In(_partition, tuple(o))),
    st.lists(_partitions, min_size=2, max_size=4).map(
        lambda options: Or(tuple(Comparison("=", _partition, option) for option in options))
    ),
    st.builds(Comparison, st.sampled_from((">", "<>")), st.just(_partition), _partitions),
)


@given(st.lists(_choices, max_size=4), _partitions)
def test_branches_and_the_remaining_conjuncts_equal_the_condition(
    conditions: list[Condition], first: Literal
) -> None:
    """A partition matches if it is read and meets the remaining conjuncts."""
    terms = tuple(map(merged_choices, (*conditions, In(_partition, (first, first)))))
    found = key_condition(KEY, terms)
    rest = tuple(term for term in terms if term not in found.covered)
    assert len(set(found.branches)) == len(found.branches)
    for letter in "abcd":
        item: dict[str, Any] = {"p": {"S": letter}, "s": {"N": "1"}}
        read = (Value("S", letter),) in found.branches
        asked = all(evaluate(condition, item) for condition in (*conditions, terms[-1]))
        assert (read and all(evaluate(term, item) for term in rest)) is asked


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
def test_sort_conditions_and_the_remaining_conjuncts_equal_the_condition(
    conditions: list[Condition],
) -> None:
    """A sort key matches if it meets the key condition and the remaining conjuncts."""
    terms = (*terms_of("p = 'a'"), *conditions)
    found = key_condition(KEY, terms)
    rest = tuple(term for term in terms if term not in found.covered)
    for number in range(-3, 4):
        item: dict[str, Any] = {"p": {"S": "a"}, "s": {"N": str(number)}}
        asked = evaluate(_all(terms), item)
        read = found.branches == ((A,),) and all(
            evaluate(term, item) for term in found.sort_conditions
        )
        assert (read and (not rest or evaluate(_all(rest), item))) is asked
    assert len(found.sort_conditions) <= 1
    assert found.approximated.isdisjoint(found.covered)


def _all(terms: tuple[Condition, ...]) -> Condition:
    condition = conjunction(terms)
    assert condition is not None
    return condition
