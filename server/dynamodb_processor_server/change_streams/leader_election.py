"""Elects, among replicas, the one that follows a table's stream."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Final, NoReturn

import structlog

from dynamodb_processor_server.change_streams.consumer import StreamConsumer
from dynamodb_processor_server.change_streams.port import Checkpoint, Leases
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.runtime.timing import Clock

_log = structlog.get_logger(__name__)

#: Seconds for which a lease is held, and after which another replica takes over from a dead one.
LEASE_SECONDS: Final = 5.0
_RENEW_SECONDS: Final = LEASE_SECONDS / 3


class LeaderElector:
    """Follows a table's stream while it holds the lease for that.

    It stops at the latest when the lease ends, going by its own clock from before it was asked for.
    Two that follow at once would do no harm, as what was invalidated may be so again.

    Args:
        name: Names the lease.
        leases: Where it is held.
        make: Makes a follower that goes on from where the last one stood.
        timing: Clock, sleep and random.

    Attributes:
        follower: What follows, None while the lease is not held.
        failures: How often there was no answer as to who holds it.
    """

    def __init__(
        self,
        name: str,
        leases: Leases,
        make: Callable[[Checkpoint], StreamConsumer],
        timing: Clock,
    ) -> None:
        self.follower: StreamConsumer | None = None
        self.failures = 0
        self._name = name
        self._holder = secrets.token_hex(16)
        self._leases = leases
        self._make = make
        self._timing = timing

    async def follow(self) -> NoReturn:
        """Stand for election, and follow whenever elected, until cancelled."""
        while True:
            try:
                await self._stand()
            except Exception:  # noqa: BLE001 - a defect must not leave any table alone
                _log.exception("stream_election_failed")
            # Not all at once.
            await self._timing.sleep(_RENEW_SECONDS * (0.5 + self._timing.random() / 2))

    async def _stand(self) -> None:
        """Ask for the lease, and follow for as long as it is held."""
        began = self._timing.clock()
        try:
            stood = await self._leases.take(self._name, self._holder, LEASE_SECONDS)
        except BackendUnavailable:
            self.failures += 1
            return
        if stood is not None:
            await self._lead(stood, began + LEASE_SECONDS)

    async def _lead(self, stood: Checkpoint, until: float) -> None:
        follower = self.follower = self._make(stood)
        task = asyncio.create_task(follower.follow())
        try:
            await self._hold(follower, until)
        finally:
            self.follower = None
            task.cancel()
            await asyncio.wait((task,))
            await self._leave(follower)

    async def _hold(self, follower: StreamConsumer, until: float) -> None:
        """Return when the lease has been lost; it ends at `until` unless it is renewed."""
        while (left := until - self._timing.clock()) > 0:
            await self._timing.sleep(min(_RENEW_SECONDS, left))
            began = self._timing.clock()
            try:
                async with asyncio.timeout(max(0.0, until - began)):
                    held = await self._leases.renew(
                        self._name, self._holder, LEASE_SECONDS, follower.checkpoint
                    )
            except (BackendUnavailable, TimeoutError):
                self.failures += 1
                continue
            if not held:
                break
            until = began + LEASE_SECONDS
        _log.warning("stream_lease_lost")

    async def _leave(self, follower: StreamConsumer) -> None:
        try:
            await self._leases.release(self._name, self._holder, follower.checkpoint)
        except BackendUnavailable:
            pass  # the lease ends by itself
        except Exception:  # noqa: BLE001 - what ends here may have been cancelled, and must end
            _log.exception("stream_election_failed")
