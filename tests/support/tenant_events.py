"""Events of two tenants in one table, and random reads with their expected results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from dynamodb_processor.v1.query_pb2 import ORDER_ASCENDING, ORDER_DESCENDING, QuerySpec
from tests.support.conditions import WireItem
from tests.support.running import query_spec

TENANTS: Final = ("acme", "competitor")
USERS: Final = tuple(f"u-{number}" for number in range(6))
KINDS: Final = ("login", "logout", "view")
EVENTS: Final = 40  # of each user, of both tenants in turn
# A tenant's own rows where they are a key condition, and where they are filtered.
TABLES: Final = ("strict", "filtered")


@dataclass(frozen=True)
class Event:
    """One item; its number decides everything but its user."""

    user: str
    number: int

    @property
    def tenant(self) -> str:
        """The owner."""
        return TENANTS[self.number % 2]

    @property
    def kind(self) -> str:
        """The kind."""
        return KINDS[self.number % 3]

    @property
    def key(self) -> tuple[str, str]:
        """The primary key."""
        return self.user, f"e-{self.number:02d}"

    @property
    def item(self) -> WireItem:
        """The item in DynamoDB."""
        return {
            "user_id": {"S": self.user},
            "event_id": {"S": self.key[1]},
            "tenant_id": {"S": self.tenant},
            "kind": {"S": self.kind},
            "at": {"N": str(self.number)},
            "note": {"S": f"secret of {self.tenant}"},
        }


ALL: Final = {
    event.key: event for user in USERS for event in (Event(user, n) for n in range(EVENTS))
}


@dataclass(frozen=True)
class RandomRead:
    """A random query, and the events that match it, whoever owns them."""

    spec: QuerySpec
    matches: Callable[[Event], bool]

    def expected(self, tenant: str) -> set[tuple[str, str]]:
        """Return the keys of a tenant's own events that match."""
        return {key for key, one in ALL.items() if one.tenant == tenant and self.matches(one)}


def random_read(random: Random) -> RandomRead:
    """Return a query by user, kind, tenant or time, about the tenant's own rows or not."""
    table, user, kind = random.choice(TABLES), random.choice(USERS), random.choice(KINDS)
    low, high = sorted(random.choices(range(EVENTS), k=2))
    tenant = random.choice(TENANTS)
    users = random.sample(USERS, 3)
    options: list[tuple[str, dict[str, Any], Callable[[Event], bool]]] = [
        ("", {}, lambda one: True),
        ("user_id = :u", {"u": user}, lambda one: one.user == user),
        (
            "user_id = :u AND at BETWEEN :l AND :h",
            {"u": user, "l": low, "h": high},
            lambda one: one.user == user and low <= one.number <= high,
        ),
        (
            "user_id = :u AND kind = :k",
            {"u": user, "k": kind},
            lambda one: one.user == user and one.kind == kind,
        ),
        (
            "user_id IN (:a, :b, :c)",
            dict(zip("abc", users, strict=True)),
            lambda one: one.user in users,
        ),
        ("kind = :k", {"k": kind}, lambda one: one.kind == kind),
        ("kind = :k AND at < :h", {"k": kind, "h": high},
         lambda one: one.kind == kind and one.number < high),
        ("tenant_id = :t", {"t": tenant}, lambda one: one.tenant == tenant),
        ("tenant_id IN (:t, :o)", {"t": TENANTS[0], "o": TENANTS[1]}, lambda one: True),
        ("tenant_id <> :t", {"t": tenant}, lambda one: one.tenant != tenant),
        (
            "user_id = :u AND (tenant_id = :t OR at > :l)",
            {"u": user, "t": tenant, "l": low},
            lambda one: one.user == user and (one.tenant == tenant or one.number > low),
        ),
        ("at >= :l", {"l": low}, lambda one: one.number >= low),
        ("user_id = :u AND contains(note, :n)", {"u": user, "n": "secret"},
         lambda one: one.user == user),
    ]  # fmt: skip
    text, parameters, matches = random.choice(options)
    projection = random.choice(([], ["user_id", "event_id"], ["user_id", "event_id", "at"]))
    spec = query_spec(table, text, parameters=parameters, projection=projection)
    spec.order = random.choice((ORDER_ASCENDING, ORDER_DESCENDING))
    return RandomRead(spec, matches)
