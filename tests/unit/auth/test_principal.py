"""Principals: the tables that they may read, and the cached decisions."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.principal import Principal


def principal(*tables: str, roles: tuple[str, ...] = ("reader",), name: str = "p") -> Principal:
    """Return a principal with these grants."""
    return Principal("k-1", name, frozenset(roles), tuple(map(Grant, tables)), "default")


@pytest.mark.parametrize(
    ("granted", "table", "allowed"),
    [
        (("flights",), "flights", True),
        (("flights",), "flights2", False),
        (("fl*",), "flights", True),
        (("fl*",), "FLIGHTS", False),
        (("fl*",), "xflights", False),
        (("a", "b?"), "b1", True),
        ((), "flights", False),
        (("*",), "anything", True),
        (("*",), "", False),
        (("*",), "x" * 256, False),
    ],
)
def test_a_grant_covers_names_and_patterns(
    granted: tuple[str, ...], table: str, allowed: bool
) -> None:
    """Names match as a whole and in their case, and the cached decision is the same."""
    caller = principal(*granted)
    assert caller.may_read(table) is allowed
    assert caller.may_read(table) is allowed


def test_cached_decisions_are_bounded() -> None:
    """A caller that asks for ever new names does not fill the memory."""
    caller = principal("t*")
    for number in range(5_000):
        assert caller.may_read(f"t{number}")
        assert not caller.may_read(f"u{number}")
    assert len(caller._decisions) <= 1_024


def test_roles_are_those_granted() -> None:
    """No role implies another."""
    assert principal(roles=("admin",)).has_role("admin")
    assert not principal(roles=("admin",)).has_role("reader")


def test_asking_does_not_change_a_principal() -> None:
    """Cached decisions take no part in comparisons, nor in the principal's text."""
    asked, fresh = principal("a"), principal("a")
    asked.may_read("a")
    assert asked == fresh
    assert "_decisions" not in repr(asked)
