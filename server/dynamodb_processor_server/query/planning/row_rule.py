"""Row rules: which items of a table a caller may have at all, whatever the caller asks.

A rule is not the caller's words: it is never shown, and its attributes need not be visible.
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
        condition: What it says; left out of the object's text.
        as_filter: Whether reads may pass over items that it hides. If not, only reads are allowed
            whose key condition says all of it, so that nothing they cost depends on hidden items.
        terms: Its conjuncts, as planning takes them.
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

    def over(self, view: LogicalView) -> RowRule:
        """Return the rule, said of logical attributes, as one on the expanded items of a table."""
        said = replace(view, time_to_live=None)
        condition = stored_condition(self.condition, said)
        assert condition is not None, "what is said of logical attributes is said of stored ones"
        return RowRule(condition, self.as_filter)

    @property
    def attributes(self) -> frozenset[str]:
        """The attributes that the rule is about."""
        return frozenset(path.attribute for path in paths(self.condition))

    @property
    def fixed(self) -> frozenset[str]:
        """The attributes to which the rule leaves one or a few values, by `=` or `IN`."""
        return frozenset(name for name in map(_fixed, self.terms) if name is not None)

    def admits(self, item: WireItem) -> bool:
        """Return whether a caller may have an item."""
        return evaluate(self.condition, item)

    def admits_key(self, key: WireItem) -> bool:
        """Return whether a caller might have the item with a primary key, for all the key says."""
        return all(
            evaluate(term, key)
            for term in self.terms
            if all(path.attribute in key for path in paths(term))
        )

    def covered_by(self, key: KeyCondition) -> bool:
        """Return whether nothing that the rule hides is read with a key condition."""
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
