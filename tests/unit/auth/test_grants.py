"""Grants: which one applies to a table, and when two give the same."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.auth.grants import Grant, grant_for, shadowed_by
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.planning.row_rule import RowRule


def rule(text: str, *, as_filter: bool = False) -> RowRule:
    """Return the row rule with this condition."""
    return RowRule(parse_expression(text, {}), as_filter)


_OURS = rule("tenant_id = 'acme'")


@pytest.mark.parametrize(
    ("tables", "asked", "index"),
    [
        (["events"], "events", 0),
        (["events"], "other", None),
        (["*", "events"], "events", 1),
        (["e*", "event?"], "events", 0),
        (["x*", "e*", "*"], "events", 1),
        (["events", "*"], "other", 1),
    ],
)
def test_the_name_itself_counts_before_the_first_pattern(
    tables: list[str], asked: str, index: int | None
) -> None:
    """One grant applies, and the list alone shows which one."""
    grants = [Grant(table) for table in tables]
    found = grant_for(asked, grants)
    assert found is (None if index is None else grants[index])


def test_grants_are_never_combined() -> None:
    """Another matching grant does not add to the one that applies."""
    grants = (Grant("*"), Grant("events", frozenset({"a"}), _OURS), Grant("e*", frozenset({"b"})))
    found = grant_for("events", grants)
    assert found is not None
    assert (found.attributes, found.rule) == (frozenset({"a"}), _OURS)


def test_versions_depend_on_attributes_and_rule_alone() -> None:
    """Versions are equal for equal attributes and rules; spaces in the rule's text do not count."""
    assert Grant("a").version == Grant("b*").version == b""
    mine = Grant("a", frozenset({"x", "y"}), _OURS)
    theirs = Grant("b*", frozenset({"y", "x"}), rule("  tenant_id   = 'acme'"))
    assert mine.version == theirs.version != b""
    others = [
        Grant("a", frozenset({"x"}), _OURS),
        Grant("a", frozenset({"x", "y"})),
        Grant("a", None, _OURS),
        Grant("a", None, rule("tenant_id = 'other'")),
        Grant("a", None, rule("tenant_id = 'acme'", as_filter=True)),
    ]
    assert len({grant.version for grant in (mine, *others)}) == 6


def test_a_rule_does_not_show_in_a_text() -> None:
    """A grant may appear in a log, but its rule must not."""
    assert "acme" not in repr(Grant("a", None, _OURS))


@pytest.mark.parametrize(
    ("tables", "index", "earlier"),
    [
        (["*", "audit_*"], 1, 0),
        (["a*", "audit_*"], 1, 0),
        (["x*", "a*", "audit_*"], 2, 1),
        (["audit_?", "audit_*"], 1, None),
        (["audit_*", "audit_?"], 1, 0),
        (["*", "events"], 1, None),
        (["audit_*", "*"], 1, None),
        (["[ab]*", "[ab]x"], 1, None),
    ],
)
def test_a_restricted_pattern_that_never_applies_is_found(
    tables: list[str], index: int, earlier: int | None
) -> None:
    """Behind a wider pattern it would restrict nothing, which is never intended."""
    grants = [Grant(table) for table in tables]
    grants[index] = Grant(tables[index], None, _OURS)
    assert shadowed_by(grants, index) == earlier
    grants[index] = Grant(tables[index])
    assert shadowed_by(grants, index) is None, "it gives the same as the others"
