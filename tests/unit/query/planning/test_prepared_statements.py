"""Tests that a plan bound to values equals the plan that is made anew for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamodb_processor_server.catalog.schema import KeyAttribute, Table
from dynamodb_processor_server.errors import InvalidRequest, PreconditionFailed
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.expression.validation import ExpressionError
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.generic_plan import PlannedQuery
from dynamodb_processor_server.query.planning.plan import Operation
from dynamodb_processor_server.query.planning.prepared_statement import (
    PreparedStatement,
    plan_anew,
)
from dynamodb_processor_server.query.planning.row_rule import RowRule
from tests.support.datasets import Index, Schema
from tests.support.random_statements import Statement, random_statement
from tests.unit.query.tables import make_table

_BINDINGS: Final = 6
# Statements of one example: 200 in `make test`, 20,000 in `make test-deep`.
_STATEMENTS: Final = settings().max_examples // 50

_TYPES: Final = {
    "user": "S", "at": "S", "system": "S", "level": "N", "kind": "S", "region": "S", "raw": "B",
}  # fmt: skip
_PLAIN: Final = Schema(
    "plain",
    "user",
    "at",
    (
        Index("by_level", True, ("user",), ("level",), "KEYS_ONLY"),
        Index("by_system", False, ("system",), ("at",)),
        Index("by_kind", False, ("kind", "region"), ("level", "at"), "KEYS_ONLY"),
        Index("by_raw", False, ("raw",), ("level",), "INCLUDE", ("note",)),
    ),
    _TYPES,
)
_COMPOSED: Final = Schema(
    "composed",
    "PK",
    "SK",
    (
        Index("by_system", False, ("GP",), ("GS",)),
        Index("by_kind", False, ("HP", "region"), ("level",), "KEYS_ONLY"),
        Index("inverted", False, ("SK",), ("PK",), "KEYS_ONLY"),
    ),
    {"PK": "S", "SK": "S", "GP": "S", "GS": "S", "HP": "S", "region": "S", "level": "N"},
)
_SORT_KEYS: Final = (
    "{at}#{kind}", "E#{kind}", "{kind}#{at}", "{code:4}{note}", "A#{at}##{note}#Z", "{note}|{at}",
    "{user}#{kind}", "#{code:4}",
)  # fmt: skip
_PARTITIONS: Final = ("USER#{user}", "{user}|{kind}", "T#{system}#USER#{user}", "{code:4}{user}")
_FORMS: Final = (
    "iso8601", "iso8601_milliseconds", "iso8601_microseconds", "epoch_seconds",
    "epoch_milliseconds",
)  # fmt: skip
_RULES: Final = (
    "user = 'a'", "user IN ('a', 'b')", "system = 'a' AND level > 1", "kind = 'a' OR kind = 'b'",
    "at >= '2026-01-01T00:00:00Z' AND user = 'b'", "begins_with(note, 'a')",
    "level BETWEEN 0 AND 9",    "user = 'a' AND at < '2026-02-01T00:00:00.25Z'",
)  # fmt: skip


def random_table(random: Random) -> Table:
    """Return a table with plain keys or composed ones, and random options."""
    is_composed = random.random() < 0.5
    options: dict[str, Any] = {"expose_keys": True} if is_composed else {}
    if is_composed:
        options["keys"] = {
            "PK": random.choice(_PARTITIONS),
            "SK": random.choice(_SORT_KEYS),
            "GP": random.choice(("S#{system}", "{system}#{kind}")),
            "GS": random.choice(("{at}", "{kind}#{at}", "{code:4}{note}")),
            "HP": "{kind}",
        }
    if random.random() < 0.5:
        stored_as_number = is_composed and random.random() < 0.5
        forms = _FORMS if not is_composed else _FORMS[:3]
        options["timestamps"] = {"seen": random.choice(_FORMS)}
        if not stored_as_number:
            options["timestamps"]["at"] = random.choice(forms[:3])
    if random.random() < 0.3:
        options["sparse"] = "allow"
    elif random.random() < 0.5:
        options["required"] = ["GP", "GS", "HP"] if is_composed else ["system", "kind", "raw"]
    if random.random() < 0.3:
        options["allow_scan"] = True
    if random.random() < 0.3:
        options["time_to_live"] = "expires"
    return make_table(_COMPOSED if is_composed else _PLAIN, **options)


def names(attributes: Iterable[KeyAttribute]) -> tuple[str, ...]:
    """Return the names of attributes, or of the fields of their templates."""
    return tuple(name for attribute in attributes for name in attribute.fields)


def random_rule(random: Random, table: Table) -> RowRule | None:
    """Return a row rule for expanded items of a table, or none."""
    if random.random() < 0.7:
        return None
    rule = RowRule(parse_expression(random.choice(_RULES), {}), random.random() < 0.5)
    return rule.on_stored_items(table.view)


def outcome(plan: Callable[[], PlannedQuery | None]) -> Any:
    """Return everything about a planned query, or about the error instead of one."""
    try:
        planned = plan()
    except (ExpressionError, InvalidRequest, PreconditionFailed) as error:
        return type(error), str(error), getattr(error, "violations", None)
    if planned is None:
        return None
    query, found = planned.query, planned.plan
    # Texts tell 1 from 1.0, and one column from another.
    texts = repr(
        (query, found.requests, found.filter, found.local_filter, found.hydration, found.rejected)
    )
    keys = found.key.branches, found.key.sort_conditions
    return planned, found.tags, query.counts, texts, repr(keys), found.with_consistent_reads()


@dataclass(frozen=True)
class Case:
    """A statement of a table, prepared, and the way to plan it anew."""

    statement: Statement
    table: Table
    rule: RowRule | None = None
    prepared: PreparedStatement = field(init=False)

    def __post_init__(self) -> None:
        prepared = PreparedStatement(self.table, self.rule, self.scope)
        object.__setattr__(self, "prepared", prepared)

    @property
    def scope(self) -> object:
        """The object that is digested with the query."""
        return "scope", self.rule

    def parse(self, values: Mapping[str, Value]) -> Query:
        """Return the query with these values."""
        options = dict(self.statement.options)
        options["projection"] = tuple(map(parse_path, options.pop("projection", ())))
        condition = parse_expression(self.statement.text, values)
        return Query(self.table.name, condition, **options)

    def anew(self, values: Mapping[str, Value]) -> Any:
        """Return the outcome of planning for these values."""
        return outcome(lambda: plan_anew(self.parse(values), self.table, self.rule, self.scope))

    def bound(self, values: Mapping[str, Value]) -> Any:
        """Return the outcome of binding, None if there is no plan for these values."""
        return outcome(lambda: self.prepared.bind(values))

    def planned(self, values: Mapping[str, Value]) -> Any:
        """Return the outcome of planning for these values and others."""
        return outcome(lambda: self.prepared.plan(values, self.parse))


def random_case(random: Random, bindings: int = _BINDINGS) -> Case:
    """Return a random statement of a random table, with some sets of values."""
    table = random_table(random)
    paths = {
        path.label: (names(path.key.partition), names(path.key.sort)) for path in table.schema.paths
    }
    return Case(random_statement(random, paths, bindings), table, random_rule(random, table))


@given(st.integers(0, 2**64))
def test_a_bound_plan_equals_a_new_one(seed: int) -> None:
    """Requests, filters, digests, rejections and errors are the same for all values."""
    random = Random(seed)
    for _ in range(_STATEMENTS):
        case = random_case(random)
        for values in case.statement.bindings:
            expected = case.anew(values)
            bound = case.bound(values)
            assert bound is None or bound == expected
            assert bound is not None or case.planned(values) == expected


def test_random_statements_are_bound_in_every_way() -> None:
    """The property above would say little if its plans were all of one kind, or never bound."""
    random = Random(1)
    found: Counter[str] = Counter()
    for _ in range(150):
        case = random_case(random)
        for values in case.statement.bindings:
            bound = case.bound(values)
            if bound is None:
                is_error = isinstance(case.planned(values)[0], type)
                found["error" if is_error else "planned"] += 1
                continue
            plan = bound[0].plan
            found[plan.operation.name] += 1
            found["partitions"] += len(plan.requests) > 1
            found["hydrated"] += plan.hydration is not None
            found["ruled"] += plan.rule is not None
            found["composed"] += any(key.template for key in plan.path.key.attributes)
            found["filtered"] += plan.filter is not None
            found["local"] += plan.local_filter is not None
    assert min(found.values()) > 0
    assert len(found) == 12
    assert sum(found[operation.name] for operation in Operation) > 150


def text(data: str) -> Value:
    """Return a text."""
    return Value("S", data)


def case_of(expression: str, **options: Any) -> Case:
    """Return a statement of the plain table."""
    return Case(Statement(expression, {}, ()), make_table(_PLAIN, **options))


BETWEEN: Final = "user = :u AND at BETWEEN :a AND :b AND note IN (:s, :t)"


def values_of(**texts: str) -> dict[str, Value]:
    """Return values for `BETWEEN`."""
    given = {"u": "u-1", "a": "2026-01", "b": "2026-02", "s": "x", "t": "y", **texts}
    return {name: text(data) for name, data in given.items()}


def test_a_plan_is_bound_to_other_values() -> None:
    """Nothing of the first values is left."""
    case = case_of(BETWEEN)
    assert case.bound(values_of()) is None
    case.planned(values_of())
    others = values_of(u="u-2", a="2026-03", b="2026-04", s="z", t="w")
    assert case.bound(others) == case.anew(others)
    assert "u-1" not in repr(case.bound(others))


@pytest.mark.parametrize(
    "texts",
    [
        {"a": "2026-03"},
        {"a": "2026-02"},
        {"s": "y"},
        {"u": ""},
        {"u": "u" * 2_049},
        {"b": "b" * 1_025},
        {"s": "2026-01"},
    ],
)
def test_values_that_change_the_plan_are_not_bound_to_it(texts: dict[str, str]) -> None:
    """Reversed bounds, equal values, and values that no key can have need another plan."""
    case = case_of(BETWEEN)
    case.planned(values_of())
    values = values_of(**texts)
    assert case.bound(values) is None
    assert case.planned(values) == case.anew(values)


def test_a_statement_holds_a_plan_for_each_decision() -> None:
    """Reversed bounds have a plan too, beside that of ordinary ones."""
    case = case_of(BETWEEN)
    case.planned(values_of())
    case.planned(values_of(a="2026-03"))
    for values in (values_of(u="u-2"), values_of(u="u-3", a="2026-05")):
        assert case.bound(values) == case.anew(values)


def test_a_statement_holds_few_plans() -> None:
    """Values that are decided in ever new ways are planned for, and the memory is bounded."""
    names = [f"p{number}" for number in range(6)]
    case = case_of(f"user IN ({', '.join(f':{name}' for name in names)})")
    random = Random(1)
    sizes = []
    for _ in range(100):
        values = {name: text(random.choice("abcdef")) for name in names}
        expected = case.anew(values)
        assert (case.bound(values) or case.planned(values)) == expected
        sizes.append(case.prepared.size)
    assert max(sizes) < 10 * sizes[0]


def test_a_plan_that_is_needed_again_is_made_again() -> None:
    """Of many misses without room for a plan, a few make one all the same."""
    names = [f"p{number}" for number in range(6)]
    case = case_of(f"user IN ({', '.join(f':{name}' for name in names)})")
    for number in range(12):
        same = dict.fromkeys(names, text("a"))
        case.planned({**same, **{name: text(name) for name in names[: number % 6]}})
        case.planned({**same, **{name: text(name) for name in names[number % 6 :]}})
    different = {name: text(name) for name in names}
    for _ in range(16):
        case.planned(different)
    assert case.bound(different) == case.anew(different)


def test_conditions_on_a_key_and_its_field_are_planned_each_time() -> None:
    """A text of the template alone might equal a value of the caller's, unnoticed."""
    table = make_table(_COMPOSED, keys={"PK": "USER#{user}", "SK": "A#{kind}"}, expose_keys=True)
    expression = "user = :u AND kind < :k AND SK >= :s"
    case = Case(Statement(expression, {}, ()), table)
    values = {"u": text("u"), "k": text("k"), "s": text("A")}
    assert case.planned(values) == case.anew(values)
    assert case.bound(values) is None
    assert case.prepared.size == 0


def test_a_plan_of_very_many_steps_is_not_kept() -> None:
    """The memory of one plan is bounded; such a query is planned for each of its values."""
    names = [f"p{number}" for number in range(1_000)]
    case = case_of(f"user = :p0 AND note IN ({', '.join(f':{name}' for name in names)})")
    values = {name: text(name) for name in names}
    assert case.planned(values) == case.anew(values)
    assert case.bound(values) is None
    assert case.prepared.size == 0


def test_an_error_makes_no_plan() -> None:
    """Values with an error get the error, and other values can still be planned for."""
    case = case_of("seen = :t AND user = :u", timestamps={"seen": "epoch_seconds"})
    wrong = {"t": text("yesterday"), "u": text("u")}
    right = {"t": text("2026-01-01"), "u": text("u")}
    assert case.planned(wrong) == case.anew(wrong)
    assert case.prepared.size == 0
    case.planned(right)
    assert case.bound(wrong) is None
    assert case.bound(right) == case.anew(right)


def test_a_time_is_checked_even_if_the_plan_does_not_need_it() -> None:
    """Nothing can match this query, so no request has the time; planning anew refuses it."""
    expression = "seen < :t AND user = :u AND user = :v"
    case = case_of(expression, timestamps={"seen": "epoch_seconds"})
    right = {"t": text("2026-01-01"), "u": text("u"), "v": text("v")}
    case.planned(right)
    assert case.bound(right) == case.anew(right)
    assert case.bound({**right, "t": text("yesterday")}) is None
