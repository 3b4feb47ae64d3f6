"""Tests that queries of one shape share a prepared statement, and others do not."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.value_pb2 import AttributeValue, StringSet
from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.errors import InvalidRequest, RateLimited
from dynamodb_processor_server.limits.call_rate import RateClass
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.rpc.decode.page_request import RawQuerySpec
from dynamodb_processor_server.rpc.decode.query_shape import shaped
from dynamodb_processor_server.rpc.planning import PlanningWork
from dynamodb_processor_server.rpc.prepared_queries import PreparedQuery, QueryPreparer
from tests.support.work import InlineExecutor
from tests.unit.rpc.preparing import CALLER, Prepared

TEXT = "user_id = :u AND at BETWEEN :a AND :b AND note = :n"


def spec(expression: str = TEXT, fields: dict[str, Any] | None = None, **texts: str) -> QuerySpec:
    """Return a query with these values of its parameters, and other fields."""
    given = {"u": "u-1", "a": "2026-01", "b": "2026-02", "n": "x", **texts}
    parameters = {name: AttributeValue(s=text) for name, text in given.items()}
    return QuerySpec(table="events", expression=expression, parameters=parameters, **fields or {})


@pytest.fixture
async def prepare() -> Prepared:
    """A query preparer that has a prepared statement for `spec()`."""
    prepared = Prepared()
    await prepared(spec(u="first"))
    await prepared(spec(u="second"))
    return prepared


def is_bound(one: PreparedQuery, other: PreparedQuery) -> bool:
    """Return whether two queries come from one generic plan: they share its constant parts."""
    return one.plan.projection is other.plan.projection


async def anew(query: QuerySpec, *grants: Grant, counts: bool = False) -> PreparedQuery:
    """Return a query as a preparer plans it that sees it first."""
    caller = replace(CALLER, grants=grants) if grants else CALLER
    preparation = Prepared().preparation
    return await preparation.prepare(RawQuerySpec.of(query), caller, (), counts=counts)


async def test_the_third_query_of_a_shape_is_bound(prepare: Prepared) -> None:
    """It equals the query that is planned for its values alone, tokens and cache key included."""
    known = await prepare(spec(u="second"))
    bound = await prepare(spec(u="u-3", a="2026-03", b="2026-04", n="y"))
    assert is_bound(bound, known)
    expected = await anew(spec(u="u-3", a="2026-03", b="2026-04", n="y"))
    assert (bound.query, bound.identity) == (expected.query, expected.identity)
    assert bound.plan.requests == expected.plan.requests
    assert bound.plan.cache_key == expected.plan.cache_key
    assert bound.plan.tags == expected.plan.tags
    assert bound.size == expected.size


async def test_a_query_without_parameters_has_no_shape() -> None:
    """Its plan depends on nothing but the text, under which it is cached."""
    assert shaped(QuerySpec(table="events", expression="user_id = 'u'")) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"index": "@table"},
        {"order": 2},
        {"projection": ["note"]},
        {"consistency": 2},
        {"max_items": 5},
    ],
)
async def test_a_shape_has_every_other_field(prepare: Prepared, changed: dict[str, Any]) -> None:
    """Queries with other options, or another text, are other statements."""
    known, other = shaped(spec()), shaped(spec(fields=changed))
    assert known is not None
    assert other is not None
    assert known.shape != other.shape
    assert known.values == other.values
    assert not is_bound(await prepare(spec(fields=changed)), await prepare(spec(u="second")))


def test_the_order_of_parameters_makes_no_shape() -> None:
    """Clients write the map in any order."""
    names = ("u", "a", "b", "n")
    one = spec()
    other = QuerySpec(table="events", expression=TEXT)
    for name in reversed(names):
        other.parameters[name].s = one.parameters[name].s
    first, second = shaped(one), shaped(other)
    assert first is not None
    assert second is not None
    assert first.shape == second.shape


async def test_a_value_of_another_type_is_another_shape(prepare: Prepared) -> None:
    """Types decide about errors and plans."""
    query = spec()
    query.parameters["n"].n = "7"
    assert not is_bound(await prepare(query), await prepare(spec(u="second")))
    query.parameters["u"].n = "7"
    with pytest.raises(InvalidRequest, match="user_id is a string key, not a number"):
        await prepare(query)


async def test_invalid_values_get_the_errors_of_a_new_query(prepare: Prepared) -> None:
    """Values without a type, of an unknown kind, or not used, are refused as ever."""
    changes: list[Callable[[QuerySpec], object]] = [
        lambda query: query.parameters["n"].Clear(),
        lambda query: query.parameters["n"].ss.CopyFrom(StringSet()),
        lambda query: query.parameters["n"].MergeFromString(b"\xfa\x01\x01x"),
        lambda query: query.parameters["more"].MergeFrom(AttributeValue(s="x")),
        lambda query: query.parameters.pop("n"),
        lambda query: query.parameters["u"].MergeFrom(AttributeValue(s="")),
    ]
    for change in changes:
        query = spec()
        change(query)
        with pytest.raises(InvalidRequest) as known:
            await prepare(query)
        with pytest.raises(InvalidRequest) as new:
            await anew(query)
        assert known.value.violations == new.value.violations


async def test_counts_and_pages_are_bound_apart(prepare: Prepared) -> None:
    """A count has neither order nor attributes, and its tokens are its own."""
    pages = await prepare(spec(u="u-3"))
    counted = [
        await prepare.preparation.prepare(
            RawQuerySpec.of(spec(u=f"u-{number}")), CALLER, (), counts=True
        )
        for number in range(3)
    ]
    assert is_bound(counted[1], counted[2])
    assert not is_bound(counted[2], pages)
    expected = await anew(spec(u="u-2"), counts=True)
    assert counted[2].identity == expected.identity
    assert counted[2].plan.cache_key == expected.plan.cache_key
    assert counted[2].query.counts


async def test_a_statement_is_for_one_grant(prepare: Prepared) -> None:
    """A row rule is part of the plans, and of the scope of tokens."""
    grant = Grant("events", None, RowRule(parse_expression("user_id = 'u-1'", {}), as_filter=True))
    found = [await prepare(spec(a=f"2026-01-0{number}"), grant) for number in range(1, 4)]
    assert is_bound(found[1], found[2])
    expected = await anew(spec(a="2026-01-03"), grant)
    assert found[2].identity == expected.identity
    assert found[2].plan.cache_key == expected.plan.cache_key
    assert found[2].plan.rule == expected.plan.rule
    assert not is_bound(found[2], await prepare(spec(u="second")))


async def test_a_statement_is_for_one_version_of_the_table(prepare: Prepared) -> None:
    """Plans for a table that has changed are not bound any more."""
    prepare.describer.sort = "seq"
    await prepare.catalog.refresh()
    query = spec("user_id = :u AND at = :a AND note IN (:b, :n)", u="u-3")
    assert (await prepare(query)).plan.path.key.sort[0].name == "seq"
    assert (await prepare(spec(u="u-4"))).plan.path.key.sort[0].name == "seq"


async def test_binding_is_charged_and_refused_in_debt() -> None:
    """The limit on planning time holds for bound queries too."""
    prepare = Prepared(rates=RateClass(1_000, planning_seconds_per_second=0.25))
    for number in range(3):
        await prepare(spec(u=f"u-{number}"))
    before = dict(prepare.limits.seconds())["reports"]
    await prepare(spec(u="u-4"))
    assert dict(prepare.limits.seconds())["reports"] > before
    prepare.limits.charge(CALLER, 60.0)
    with pytest.raises(RateLimited):
        await prepare(spec(u="u-5"))
    await prepare(spec(u="u-4"))  # its plan is cached


class CountingExecutor(InlineExecutor):
    """Runs its calls at once, and counts them."""

    calls = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function and return its outcome."""
        self.calls += 1
        return super().submit(fn, *args, **kwargs)


async def test_long_queries_are_bound_in_the_thread() -> None:
    """Planning takes to the thread from 512 bytes on; binding is faster, and from 2 KiB on."""
    prepare, executor = Prepared(), CountingExecutor()
    work = PlanningWork(prepare.limits, executor)
    preparer = QueryPreparer(prepare.catalog, work)
    used = []
    for length in (1_000, 3_000):
        for user in ("u-1", "u-2", "u-3"):
            before = executor.calls
            query = spec(f"{TEXT} AND title <> :t", u=user, t="t" * length)
            await preparer.prepare(RawQuerySpec.of(query), CALLER, ())
            used.append(executor.calls - before)
    assert used[:3] == [2, 1, 0]
    assert used[3:] == [2, 2, 2]  # decoding of the parameters, and binding


async def test_a_statement_counts_the_memory_of_its_plans() -> None:
    """The bound of the cache is on memory, which grows when a generic plan is made."""
    prepare = Prepared()
    statements = prepare.preparation._statements
    sizes = []
    for user, first in (
        ("u-1", "2026-01"),
        ("u-2", "2026-01"),
        ("u-3", "2026-01"),
        ("u-4", "2027"),
    ):
        await prepare(spec(u=user, a=first))
        sizes.append(statements.currsize)
    new, planned, bound, reversed_bounds = sizes
    assert len(statements) == 1
    assert new < 4_000
    assert 20_000 < planned < 80_000
    assert bound == planned
    assert reversed_bounds > planned
