"""Prepared statements: queries that differ in the values of their parameters alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.query.expression import canonical
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.generic_plan import (
    GenericPlan,
    NoGenericPlan,
    ParseQuery,
    PlannedQuery,
)
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.query.planning.row_rule import RowRule

# Generic plans of one statement. Most statements need one or two. A time that may lie between two
# storable ones, or two values that may be equal or reversed, can double their number.
_MAX_PLANS: Final = 8
# A generic plan takes more than twice as long as a plan for given values. Once there is no room for
# more, only one of so many misses makes one.
_MISSES_PER_PLAN: Final = 16


class PreparedStatement:
    """A query whose parameters have other values each time, with its generic plans.

    The parameters have the same names and types each time. `scope` is digested with the query.
    """

    def __init__(self, table: Table, rule: RowRule | None, scope: object) -> None:
        self._table = table
        self._rule = rule
        self._scope = scope
        # The one that was used last comes first. Replaced as a whole: threads may plan and bind.
        self._plans: tuple[GenericPlan, ...] = ()
        self._is_generic = True
        self._misses = 0

    @property
    def size(self) -> int:
        """The number of steps and constants of its plans, which memory grows with."""
        return sum(plan.size for plan in self._plans)

    def bind(self, values: Mapping[str, Value]) -> PlannedQuery | None:
        """Return the query and its plan for some values; None if no generic plan is for them."""
        plans = self._plans
        for plan in plans:
            bound = plan.bind(values)
            if bound is not None:
                if plan is not plans[0]:
                    self._plans = plan, *(other for other in plans if other is not plan)
                return bound
        return None

    def plan(self, values: Mapping[str, Value], parse: ParseQuery) -> PlannedQuery:
        """Return the query and its plan for some values, after making a generic plan for them.

        Raises as `parse` and `plan_query`.
        """
        self._misses += 1
        if self._is_generic and (
            len(self._plans) < _MAX_PLANS or self._misses % _MISSES_PER_PLAN == 0
        ):
            try:
                generic = GenericPlan(parse, values, self._table, self._rule, self._scope)
            except NoGenericPlan:
                self._is_generic = False
            else:
                bound = generic.bind(values)
                assert bound is not None, "a plan passes the guards that were made with it"
                self._plans = generic, *self._plans[: _MAX_PLANS - 1]
                return bound
        return plan_anew(parse(values), self._table, self._rule, self._scope)


def plan_anew(query: Query, table: Table, rule: RowRule | None, scope: object) -> PlannedQuery:
    """Return a query with its plan; raise as `plan_query`."""
    plan = plan_query(query, table, rule)
    return PlannedQuery(query, plan, canonical.digest((scope, query)))
