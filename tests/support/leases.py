"""Leases in memory, on a clock of the test, from which a replica can be disconnected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from dynamodb_processor_server.change_streams.port import NO_CHECKPOINT, Checkpoint, Leases
from dynamodb_processor_server.errors import BackendUnavailable


class MemoryLeases:
    """The leases that replicas share. Every operation raises `error` if it is set."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.error: Exception | None = None
        self._clock = clock
        self._held: dict[str, tuple[str, float]] = {}
        self._checkpoints: dict[str, tuple[Checkpoint, float]] = {}

    def forget(self) -> None:
        """Lose all checkpoints."""
        self._checkpoints.clear()

    def end(self) -> None:
        """Lose all leases."""
        self._held.clear()

    async def acquire(self, name: str, holder: str, seconds: float) -> Checkpoint | None:
        """Take a lease."""
        now = self._time()
        held_by, until = self._held.get(name, (holder, now))
        if held_by != holder and until > now:
            return None
        self._held[name] = holder, now + seconds
        checkpoint, until = self._checkpoints.get(name, (NO_CHECKPOINT, now))
        return replace(checkpoint, valid_for=until - now) if until > now else NO_CHECKPOINT

    async def renew(
        self, name: str, holder: str, seconds: float, checkpoint: Checkpoint | None
    ) -> bool:
        """Hold a lease for longer."""
        now = self._time()
        held_by, until = self._held.get(name, ("", now))
        if held_by != holder or until <= now:
            return False
        if checkpoint is not None:
            self._checkpoints[name] = checkpoint, now + checkpoint.valid_for
        self._held[name] = holder, now + seconds
        return True

    async def release(self, name: str, holder: str, checkpoint: Checkpoint | None) -> None:
        """Give a lease up."""
        await self.renew(name, holder, 0.0, checkpoint)

    def _time(self) -> float:
        if self.error is not None:
            raise self.error
        return self._clock()


@dataclass
class SeverableLeases:
    """One replica's connection to the leases; every operation fails while `is_cut`."""

    leases: Leases
    is_cut: bool = False

    def _reach(self) -> Leases:
        if self.is_cut:
            raise BackendUnavailable("cut off")
        return self.leases

    async def acquire(self, name: str, holder: str, seconds: float) -> Checkpoint | None:
        """Take a lease."""
        return await self._reach().acquire(name, holder, seconds)

    async def renew(
        self, name: str, holder: str, seconds: float, checkpoint: Checkpoint | None
    ) -> bool:
        """Hold a lease for longer."""
        return await self._reach().renew(name, holder, seconds, checkpoint)

    async def release(self, name: str, holder: str, checkpoint: Checkpoint | None) -> None:
        """Give a lease up."""
        await self._reach().release(name, holder, checkpoint)
