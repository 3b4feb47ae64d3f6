"""Grants whose row rules may have variables."""

from __future__ import annotations

from typing import Final

from cachetools import LRUCache

from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.rule_template import RuleTemplate, Subject, Variable
from dynamodb_processor_server.query.expression.values import Value

# Bound grants of one template that are kept: callers with equal values share one.
_MAX_BOUND: Final = 1_024


class GrantTemplate:
    """A grant to any number of callers; a row rule is bound to the values of each."""

    def __init__(
        self, table: str, attributes: frozenset[str] | None, rule: RuleTemplate | None
    ) -> None:
        self._rule = rule
        #: The grant with invented values of variables; the grant itself if there are none.
        self.sample = Grant(table, attributes, None if rule is None else rule.sample)
        self._bound: LRUCache[tuple[tuple[Value, ...], ...], Grant] = LRUCache(_MAX_BOUND)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables of the row rule."""
        return () if self._rule is None else self._rule.variables

    def bind(self, subject: Subject) -> Grant:
        """Return the grant to a caller. Raises UnboundVariable."""
        if self._rule is None or not self._rule.variables:
            return self.sample
        values = self._rule.values(subject)
        known = self._bound.get(values)
        if known is None:
            rule = self._rule.bind(values)
            known = Grant(self.sample.table, self.sample.attributes, rule, bound=True)
            self._bound[values] = known
        return known
