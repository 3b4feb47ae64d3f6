"""Invented audit events of a quarter of a year: user, action, resource, system and time.

The events are the same in every run, on every machine and with every version of Python.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, TypeVar

from dynamodb_processor_server.demo.sample_table import Item, SampleKey, SampleTable

BY_USER: Final = "by_user"
BY_SYSTEM: Final = "by_system"

_COUNT: Final = 3_000
_SEED: Final = 20_260_101
_FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
_MEAN_GAP: Final = 2_592  # seconds: 3,000 of them make 90 days
_USERS: Final = 40
_RESOURCES: Final = 60  # of each system
_ACTIONS: Final = {
    "crm": ("customer", ("create", "read", "update", "merge", "export")),
    "billing": ("invoice", ("issue", "read", "correct", "refund", "pay")),
    "warehouse": ("parcel", ("receive", "move", "pack", "ship")),
    "portal": ("page", ("view", "search", "download")),
    "identity": ("account", ("sign_in", "sign_out", "change_password", "lock")),
}
_TAGS: Final = ("api", "bulk", "manual", "night", "pii", "test")
_CHANGES: Final = ("address", "email", "name", "owner", "status")

T = TypeVar("T")


def audit_events() -> SampleTable:
    """Return the table of audit events."""
    return SampleTable(
        name="audit_events",
        description="Who did what, and when: invented events of early 2026",
        key=SampleKey("resource_id", "event_key"),
        indexes={
            BY_USER: SampleKey("user_id", "occurred_at"),
            BY_SYSTEM: SampleKey("system_id", "occurred_at"),
        },
        required=("event_id", "user_id", "system_id", "occurred_at", "action", "outcome"),
        items=_events(),
    )


class _Dice:
    """Random choices from `Random.random` only, whose numbers are the same in every Python."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - sample data is no secret

    def below(self, bound: int, skew: int = 1) -> int:
        """Return a number from 0 to `bound` - 1; a greater `skew` makes it smaller on average."""
        # Multiplied, not raised: powers differ in their last bit from one C library to another.
        return int(bound * math.prod([self._random.random()] * skew))

    def pick(self, options: Sequence[T], skew: int = 1) -> T:
        """Return one of the options; a `skew` prefers the first."""
        return options[self.below(len(options), skew)]

    def happens(self, percent: int) -> bool:
        """Return true in a given percentage of cases."""
        return self.below(100) < percent


def _events() -> tuple[Item, ...]:
    dice = _Dice(_SEED)
    moment = _FIRST
    events = []
    for number in range(1, _COUNT + 1):
        # No two at the same second, so that the order in the indexes is fully known.
        moment += timedelta(seconds=1 + dice.below(2 * _MEAN_GAP - 1))
        events.append(_event(number, moment, dice))
    return tuple(events)


def _event(number: int, moment: datetime, dice: _Dice) -> Item:
    system = dice.pick(tuple(_ACTIONS), 2)
    kind, actions = _ACTIONS[system]
    # One width and one time zone: DynamoDB compares text byte by byte.
    occurred_at = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    event_id = f"e-{number:06}"
    event: Item = {
        "resource_id": f"{kind}-{1 + dice.below(_RESOURCES, 2):04}",
        "event_key": f"{occurred_at}#{event_id}",
        "event_id": event_id,
        "user_id": f"u-{1 + dice.below(_USERS, 2)}",
        "system_id": system,
        "occurred_at": occurred_at,
        "action": f"{kind}.{dice.pick(actions)}",
        "outcome": dice.pick(("success", "failure", "denied"), 4),
        "trace_id": bytes(dice.below(256) for _ in range(8)),
        "payload": _payload(dice),
    }
    tags = {tag for tag in _TAGS if dice.happens(20)}
    if tags:  # DynamoDB has no empty sets
        event["tags"] = tags
    if system == "billing":
        event["amount"] = Decimal(100 + dice.below(250_000, 3)).scaleb(-2)
    return event


def _payload(dice: _Dice) -> Item:
    fields = [name for name in _CHANGES if dice.happens(25)]
    return {
        "client": {
            "ip": f"10.0.{dice.below(16)}.{1 + dice.below(254)}",
            "mobile": dice.happens(30),
        },
        "duration_ms": Decimal(1 + dice.below(4_000, 3)),
        "changes": [{"field": name, "version": Decimal(1 + dice.below(9))} for name in fields],
        "comment": None,
    }
