"""A clock for tests of pauses and deadlines."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class FakeTime:
    """A clock that only `sleep` advances; it records the requested pauses."""

    now: float = 1_000.0
    pauses: list[float] = field(default_factory=list)

    def read(self) -> float:
        """Return the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Advance the time at once."""
        self.pauses.append(seconds)
        self.now += seconds
