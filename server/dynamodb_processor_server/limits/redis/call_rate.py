"""Limits on calls per second that all replicas share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.limits.call_rate import CallRateLimits, RateClass
from dynamodb_processor_server.limits.redis.batcher import Batcher
from dynamodb_processor_server.limits.redis.port import LimitStore, WindowAcquire
from dynamodb_processor_server.runtime.guarded_store import GuardedStore, StoreError

_STORE_FAILED: Final = float("nan")  # the response in place of one from the store


@dataclass(frozen=True, slots=True)
class _Request:
    """A call to count in its window, and the future of its response."""

    window: WindowAcquire
    answer: asyncio.Future[float | None]


class SharedCallRateLimits:
    """A Limiter over a store, to which each call sends a request.

    Without a response the limits of this process decide. They count every call that this replica
    accepts, so a principal does not get a second allowance when the store fails.
    """

    def __init__(self, local: CallRateLimits, store: LimitStore, guard: GuardedStore) -> None:
        self._local = local
        self._store = store
        self._guard = guard
        self._batcher = Batcher("rate limits of calls", self._deliver)

    def charge(self, principal: Principal, table: str = "") -> Awaitable[None] | None:
        """Count a call against the principal's limit, on a table or in all.

        Raises:
            RateLimited: The limit is reached. Raised when awaited.
            ConfigurationError: The principal's rate class does not exist.
        """
        limit = self._local.limit_of(principal)
        max_calls = limit.max_calls(table)
        return None if max_calls is None else self._charge(principal, table, limit, max_calls)

    async def flush(self) -> None:
        """Wait until every request has a response, which takes a bounded time."""
        await self._batcher.flush()

    async def _charge(
        self, principal: Principal, table: str, limit: RateClass, max_calls: int
    ) -> None:
        if self._guard.is_probing:
            self._local.charge(principal, table)
            return
        key = principal.rate_class, principal.name, table
        window = WindowAcquire(key, max_calls, limit.window)
        request = _Request(window, asyncio.get_running_loop().create_future())
        self._batcher.add(request)
        wait = await request.answer
        if wait is _STORE_FAILED:
            self._local.charge(principal, table)
        elif wait is not None:
            raise limit.exceeded_by(principal, table, wait)
        else:
            self._local.record(principal, table)

    async def _deliver(self, batch: list[_Request]) -> None:
        requests = [request for request in batch if not request.answer.done()]  # not cancelled
        if not requests:
            return
        windows = [request.window for request in requests]
        waits: Sequence[float | None] = ()
        try:
            waits = await self._guard.call("calls", lambda: self._store.acquire_windows(windows))
            self._guard.outcomes["calls", "done"] += 1
        except StoreError:
            pass  # it has been counted
        finally:
            if not waits:
                # Requests that arrived meanwhile have waited too, and would wait once more.
                requests += self._batcher.take_pending()
                waits = [_STORE_FAILED] * len(requests)
            for request, wait in zip(requests, waits, strict=True):
                if not request.answer.done():
                    request.answer.set_result(wait)
