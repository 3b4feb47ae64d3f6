"""Whether pages show the writes that a caller must see, and how they are read so that they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

from dynamodb_processor_server.cache.quarantine import Quarantine
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import CachePolicy, PageContent


def not_followed(_plan: Plan) -> float:
    """Return the time up to which the writes to a plan's data are known to be dealt with: never."""
    return -inf


class Freshness:
    """Compares pages with the bound `not_before` of cache policies.

    A page shows every write that was finished before its `shows_until`. One that is stored under
    current generations also shows those up to `followed_until(plan)`: a stream consumer has
    invalidated the pages of all writes before that time. Times are in seconds since the epoch by
    the clock of this replica, which `now` returns.
    """

    def __init__(
        self,
        quarantine: Quarantine,
        followed_until: Callable[[Plan], float] = not_followed,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._quarantine = quarantine
        self._followed_until = followed_until
        self._now = now

    def shows(self, policy: CachePolicy, content: PageContent, plan: Plan | None = None) -> bool:
        """Return whether a page may be served under a policy.

        `plan` is that of a page which is stored under current generations now; None for any other
        page, to which `followed_until` does not apply.
        """
        if policy.not_before is None:
            return True
        shown = content.shows_until
        if shown >= policy.not_before:
            return True
        if plan is not None:
            shown = max(shown, self._followed_until(plan))
            if shown >= policy.not_before:
                return True
        # The digest of one page, or of the two pages of an answer with a total.
        seen, digest = policy.seen, content.digest
        has_seen = bool(digest) and digest in (seen[: len(digest)], seen[len(digest) :])
        return has_seen and shown >= policy.seen_from

    def planned(self, plan: Plan, policy: CachePolicy) -> Plan:
        """Return the plan of a read that begins now and shows what the policy asks for.

        Eventual reads are enough for a bound that is older than they may lag.
        """
        bound = policy.not_before
        if bound is None or self.shown_by_read(plan) >= bound:
            return plan
        return plan.with_consistent_reads(everywhere=True)

    def shown_by_read(self, plan: Plan) -> float:
        """Return the time up to which a read that begins now shows every write."""
        return self._now() - self._quarantine.of(plan)
