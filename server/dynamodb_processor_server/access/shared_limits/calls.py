"""Calls per second that all replicas count together."""

from __future__ import annotations

from collections.abc import Awaitable

from dynamodb_processor_server.access.principals import Principal
from dynamodb_processor_server.access.rate_limits import CallRateLimits, RateClass
from dynamodb_processor_server.access.shared_limits.asking import Asking
from dynamodb_processor_server.access.shared_limits.port import LimitsLost, LimitStore


class SharedCallRateLimits:
    """A Limiter over a store: one round trip for each call.

    Without an answer the limits of this process decide. They know of every call that was let
    through here, so a principal does not get a second allowance when the store is lost.
    """

    def __init__(self, local: CallRateLimits, store: LimitStore, asking: Asking) -> None:
        self._local = local
        self._store = store
        self._asking = asking

    def charge(self, principal: Principal, table: str, calls: int = 1) -> Awaitable[None]:
        """Take calls from what the principal has left; the table makes no difference here.

        Raises:
            RateLimited: They are not left; nothing is taken. Raised when awaited.
            ConfigurationError: The principal's rate class does not exist.
        """
        return self._charge(principal, table, calls, self._local.limit_of(principal))

    async def _charge(self, principal: Principal, table: str, calls: int, limit: RateClass) -> None:
        key = principal.rate_class, principal.name
        try:
            wait = await self._asking.ask(
                "calls",
                lambda: self._store.take_calls(key, limit.calls_per_window, limit.window, calls),
            )
        except LimitsLost:  # it has been counted
            self._local.charge(principal, table, calls)
            return
        if wait is not None:
            raise limit.exceeded_by(principal, wait)
        self._local.note(principal, calls)
