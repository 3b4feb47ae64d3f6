"""Elects, among replicas, the one that consumes a table's stream."""

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

#: Seconds that a lease lasts, after which another replica takes over from a dead one.
LEASE_SECONDS: Final = 5.0
_RENEW_SECONDS: Final = LEASE_SECONDS / 3


class LeaderElector:
    """Runs a consumer of a table's stream while this replica holds the table's lease.

    The consumer stops at the latest when the lease ends, measured by its own clock from before the
    lease was requested. Two consumers at once would do no harm: a page may be invalidated twice.

    Args:
        name: The name of the lease.
        leases: The store of leases.
        make_consumer: Makes a consumer that continues from the last one's checkpoint.
        clock: Clock, sleep and random numbers.

    Attributes:
        consumer: The running consumer, None while the lease is not held.
        failures: The number of lease requests that had no answer.
    """

    def __init__(
        self,
        name: str,
        leases: Leases,
        make_consumer: Callable[[Checkpoint], StreamConsumer],
        clock: Clock,
    ) -> None:
        self.consumer: StreamConsumer | None = None
        self.failures = 0
        self._name = name
        self._holder = secrets.token_hex(16)
        self._leases = leases
        self._make_consumer = make_consumer
        self._clock = clock

    async def run(self) -> NoReturn:
        """Request the lease, and consume whenever it is held, until cancelled."""
        while True:
            try:
                await self._campaign()
            except Exception:  # noqa: BLE001 - a defect must not end the consumption of a table
                _log.exception("stream_election_failed")
            # Spread, so that replicas do not all request it at the same time.
            await self._clock.sleep(_RENEW_SECONDS * (0.5 + self._clock.random() / 2))

    async def _campaign(self) -> None:
        """Request the lease, and consume for as long as it is held."""
        began = self._clock.now()
        try:
            checkpoint = await self._leases.acquire(self._name, self._holder, LEASE_SECONDS)
        except BackendUnavailable:
            self.failures += 1
            return
        if checkpoint is not None:
            await self._lead(checkpoint, began + LEASE_SECONDS)

    async def _lead(self, checkpoint: Checkpoint, until: float) -> None:
        consumer = self.consumer = self._make_consumer(checkpoint)
        task = asyncio.create_task(consumer.run())
        try:
            await self._renew_until_lost(consumer, until)
        finally:
            self.consumer = None
            task.cancel()
            await asyncio.wait((task,))
            await self._release(consumer)

    async def _renew_until_lost(self, consumer: StreamConsumer, until: float) -> None:
        """Return when the lease has been lost; it ends at `until` unless it is renewed."""
        while (left := until - self._clock.now()) > 0:
            await self._clock.sleep(min(_RENEW_SECONDS, left))
            began = self._clock.now()
            try:
                async with asyncio.timeout(max(0.0, until - began)):
                    held = await self._leases.renew(
                        self._name, self._holder, LEASE_SECONDS, consumer.checkpoint
                    )
            except (BackendUnavailable, TimeoutError):
                self.failures += 1
                continue
            if not held:
                break
            until = began + LEASE_SECONDS
        _log.warning("stream_lease_lost")

    async def _release(self, consumer: StreamConsumer) -> None:
        try:
            await self._leases.release(self._name, self._holder, consumer.checkpoint)
        except BackendUnavailable:
            pass  # the lease ends by itself
        except Exception:  # noqa: BLE001 - this may run in a cancelled task, which must end
            _log.exception("stream_election_failed")
