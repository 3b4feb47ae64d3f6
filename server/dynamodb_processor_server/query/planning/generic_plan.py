"""Generic plans: a query that is planned once, for all values that pass the plan's guards.

The term is PostgreSQL's, for a prepared statement's plan that does not depend on the values of its
parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.query.expression.ast import (
    And,
    Between,
    Comparison,
    Function,
    In,
    Literal,
    Not,
    Or,
    Query,
    Size,
    paths,
)
from dynamodb_processor_server.query.expression.program import (
    ProgramBuilder,
    calls_of,
    run,
)
from dynamodb_processor_server.query.expression.symbolic import DataNotKnown, Trace, with_constants
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.key_condition import KeyCondition
from dynamodb_processor_server.query.planning.plan import Hydration, Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.query.planning.row_rule import RowRule

#: Returns the query with some values for its parameters, by name.
ParseQuery = Callable[[Mapping[str, Value]], Query]

# Steps of one plan, which bounds its memory; most plans have less than 200.
_MAX_STEPS: Final = 5_000
# The types in which a plan or query holds values.
_PARTS: Final = frozenset(
    {
        *(And, Between, Comparison, Function, In, Literal, Not, Or, Size),
        *(Query, Plan, KeyCondition, Hydration),
    }
)


@dataclass(frozen=True, slots=True)
class PlannedQuery:
    """A query and its plan; `digest` identifies the query and the access under which it is made."""

    query: Query
    plan: Plan
    digest: bytes


class NoGenericPlan(Exception):
    """A query has no plan for several values: it must be planned for each of them."""


class GenericPlan:
    """The plan of a query for all values of its parameters that pass its guards.

    The values have the types of those that it was made for.
    """

    def __init__(
        self,
        parse: ParseQuery,
        values: Mapping[str, Value],
        table: Table,
        rule: RowRule | None,
        scope: object,
    ) -> None:
        """Plan a query for the given values and others.

        `scope` is digested with the query. Raises NoGenericPlan, and as `parse` and `plan_query`.
        """
        trace = Trace()
        inputs = [trace.parameter(value) for value in values.values()]
        symbolic_rule = None if rule is None else _with_constants(rule, trace)
        try:
            query = parse(dict(zip(values, inputs, strict=True)))
            _check_keys(query, table, rule)
            if query.condition is not None:
                query = replace(query, condition=with_constants(query.condition, trace))
            plan = plan_query(query, table, symbolic_rule, trace.digest)
        except DataNotKnown:
            raise NoGenericPlan from None
        digest = trace.digest((scope, query))
        guards = trace.guards()
        builder = ProgramBuilder(inputs, _PARTS, [(symbolic_rule, rule)])
        # All of them, even if the plan does not need them: planning fails where one of them does.
        for derived in trace.derived:
            builder.add(derived)
        checks = [builder.step(guard.check, guard.arguments) for guard in guards]
        first = len(builder.steps)
        result = builder.step(PlannedQuery, (query, plan, digest))
        last = len(builder.steps)
        if last > _MAX_STEPS:
            raise NoGenericPlan
        self._names = tuple(values)
        self._constants, calls = calls_of([*builder.steps, *checks, result])
        # All that planning computes comes first; the rest is made for values that pass the guards.
        self._derivations, self._assembly = calls[:first], calls[first:last]
        results = (guard.result for guard in guards)
        self._guards = list(zip(calls[last:-1], results, strict=True))
        self._result = calls[-1]

    @property
    def size(self) -> int:
        """The number of steps and constants, which memory grows with."""
        steps = len(self._derivations) + len(self._guards) + len(self._assembly)
        return steps + len(self._constants)

    def bind(self, values: Mapping[str, Value]) -> PlannedQuery | None:
        """Return the query and its plan for some values; None if they do not pass the guards."""
        registers = self._constants.copy()
        registers += [values[name] for name in self._names]
        try:
            run(self._derivations, registers)
            for call, result in self._guards:
                if call.result(registers) != result:
                    return None
        except ValueError:  # a value that nothing can be derived from
            return None
        run(self._assembly, registers)
        planned: PlannedQuery = self._result.result(registers)
        return planned


def _with_constants(rule: RowRule, trace: Trace) -> RowRule:
    return RowRule(with_constants(rule.condition, trace), rule.as_filter)


def _check_keys(query: Query, table: Table, rule: RowRule | None) -> None:
    """Raise NoGenericPlan for conditions on both a composed key and a field of it.

    The planner then has conditions on the key from the caller and from the template. Some of the
    latter have a text of the template alone, which is no symbolic value. The trace does not know
    whether another value would be equal to it.
    """
    named = {path.attribute for path in paths(query.condition)}
    if rule is not None:
        named |= rule.attributes
    for template in table.view.templates:
        if template.attribute in named and any(field.name in named for field in template.fields):
            raise NoGenericPlan
