"""Calls per second that all replicas count together."""

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

_LOST: Final = float("nan")  # the answer that there is none


@dataclass(frozen=True, slots=True)
class _Request:
    """A call that wants to be let through, and where its answer is awaited."""

    taking: WindowAcquire
    answer: asyncio.Future[float | None]


class SharedCallRateLimits:
    """A Limiter over a store, which is asked before each call.

    Without an answer the limits of this process decide. They know of every call that was let
    through here, so a principal does not get a second allowance when the store is lost.
    """

    def __init__(self, local: CallRateLimits, store: LimitStore, guard: GuardedStore) -> None:
        self._local = local
        self._store = store
        self._guard = guard
        self._courier = Batcher("rate limits of calls", self._deliver)

    def charge(self, principal: Principal, table: str = "") -> Awaitable[None] | None:
        """Take a call from what the principal has left, on a table or in all.

        Raises:
            RateLimited: None is left. Raised when awaited.
            ConfigurationError: The principal's rate class does not exist.
        """
        limit = self._local.limit_of(principal)
        most = limit.most_calls(table)
        return None if most is None else self._charge(principal, table, limit, most)

    async def settle(self) -> None:
        """Wait until everything has been answered, which is bounded in time."""
        await self._courier.flush()

    async def _charge(self, principal: Principal, table: str, limit: RateClass, most: int) -> None:
        if self._guard.is_probing:
            self._local.charge(principal, table)
            return
        key = principal.rate_class, principal.name, table
        taking = WindowAcquire(key, most, limit.window)
        question = _Request(taking, asyncio.get_running_loop().create_future())
        self._courier.add(question)
        wait = await question.answer
        if wait is _LOST:
            self._local.charge(principal, table)
        elif wait is not None:
            raise limit.exceeded_by(principal, table, wait)
        else:
            self._local.note(principal, table)

    async def _deliver(self, batch: list[_Request]) -> None:
        questions = [question for question in batch if not question.answer.done()]  # has left
        if not questions:
            return
        asked = [question.taking for question in questions]
        waits: Sequence[float | None] = ()
        try:
            waits = await self._guard.call("calls", lambda: self._store.acquire_windows(asked))
            self._guard.outcomes["calls", "done"] += 1
        except StoreError:
            pass  # it has been counted
        finally:
            if not waits:
                # Who came meanwhile has waited as well, and would wait once more.
                questions += self._courier.remove()
                waits = [_LOST] * len(questions)
            for question, wait in zip(questions, waits, strict=True):
                if not question.answer.done():
                    question.answer.set_result(wait)
