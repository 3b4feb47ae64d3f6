"""Row rules: which items of a table a caller may get, for every query of the caller.

A rule is never shown to the caller, and its attributes need not be visible.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from dynamodb_processor_server.catalog.logical_view import LogicalView
from dynamodb_processor_server.query.expression.ast import (
    Comparison,
    Condition,
    In,
    Literal,
    Path,
    conjuncts,
    paths,
    without_double_negation,
)
from dynamodb_processor_server.query.expression.evaluator import evaluate
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.key_condition import KeyCondition, merged_choices
from dynamodb_processor_server.query.planning.logical_attributes import stored_condition


@dataclass(frozen=True, slots=True)
class RowRule:
    """A condition that every item given to a caller meets.

    Attributes:
        condition: The rule's condition; left out of the object's text.
        as_filter: Whether a read may skip items that the rule hides. If not, a read is allowed only
            if its key condition covers the rule, so that no cost depends on hidden items.
        terms: The conjuncts of the condition for planning.
    """

    CANONICAL_TAGS: ClassVar = ("row_rule", {"condition": 1, "as_filter": 2})

    condition: Condition = field(repr=False)
    as_filter: bool = False
    terms: tuple[Condition, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self,
            "terms",
            tuple(map(merged_choices, conjuncts(without_double_negation(self.condition)))),
        )

    def on_stored_items(self, view: LogicalView) -> RowRule:
        """Return the rule on logical attributes as a rule on the expanded items of a table."""
        without_expiry = replace(view, time_to_live=None)
        condition = stored_condition(self.condition, without_expiry)
        assert condition is not None, "a condition stays a condition on stored items"
        return RowRule(condition, self.as_filter)

    @property
    def attributes(self) -> frozenset[str]:
        """The attributes in the rule's condition."""
        return frozenset(path.attribute for path in paths(self.condition))

    @property
    def fixed(self) -> frozenset[str]:
        """The attributes that the rule fixes to one or a few values, by `=` or `IN`."""
        return frozenset(name for name in map(_fixed, self.terms) if name is not None)

    def admits(self, item: WireItem) -> bool:
        """Return whether the caller may get an item."""
        return evaluate(self.condition, item)

    def admits_key(self, key: WireItem) -> bool:
        """Return whether the caller might get the item with a primary key, judging by the key."""
        return all(
            evaluate(term, key)
            for term in self.terms
            if all(path.attribute in key for path in paths(term))
        )

    def covered_by(self, key: KeyCondition) -> bool:
        """Return whether a read with a key condition reads no item that the rule hides."""
        return not key.branches or key.covered.issuperset(self.terms)


def _fixed(term: Condition) -> str | None:
    match term:
        case Comparison("=", Path((str() as name,)), Literal()):
            return name
        case Comparison("=", Literal(), Path((str() as name,))):
            return name
        case In(Path((str() as name,)), options) if all(isinstance(o, Literal) for o in options):
            return name
    return None
