"""A fair bound on concurrent work: owners take turns."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class _Ticket:
    """One thing to do; `turn` gets the owner in whose turn it is done."""

    turn: asyncio.Future[str]
    owners: set[str] = field(default_factory=set)


class FairTurns:
    """A bound on things that are done at once, in which owners take turns.

    However many things an owner waits for, each owner in turn has one done. What several owners
    want is done in the first of their turns. For one event loop; not safe across threads.
    """

    def __init__(self, limit: int, most: int) -> None:
        """Create it with nothing to do.

        Args:
            limit: Things at once.
            most: Things of one owner at once, but for what has no owner.
        """
        self._limit = limit
        self._most = most
        self._active: Counter[str] = Counter()
        self._tickets: dict[str, _Ticket] = {}
        self._queues: dict[str, deque[_Ticket]] = {}

    @asynccontextmanager
    async def turn(self, name: str, owner: str) -> AsyncIterator[None]:
        """Wait until a thing can be done, and have it counted for as long as the block takes.

        `name` is the thing's own; nothing else of that name waits.
        """
        if self._may_begin(owner) and not self._queues:
            self._active[owner] += 1
        else:
            owner = await self._wait(name, owner)
        try:
            yield
        finally:
            self._end(owner)

    def join(self, name: str, owner: str) -> None:
        """Let a thing that waits be done in this owner's turn, too."""
        ticket = self._tickets.get(name)
        if ticket is not None and owner not in ticket.owners:
            self._queue_up(ticket, owner)
            self._begin_next()

    async def _wait(self, name: str, owner: str) -> str:
        ticket = _Ticket(asyncio.get_running_loop().create_future())
        self._tickets[name] = ticket
        self._queue_up(ticket, owner)
        self._begin_next()
        try:
            return await ticket.turn
        except asyncio.CancelledError:
            if ticket.turn.done() and not ticket.turn.cancelled():
                self._end(ticket.turn.result())  # it was to begin at this moment
            raise
        finally:
            if self._tickets.get(name) is ticket:
                del self._tickets[name]
            self._take_out(ticket)

    def _end(self, owner: str) -> None:
        self._active[owner] -= 1
        if not self._active[owner]:
            del self._active[owner]
        self._begin_next()

    def _queue_up(self, ticket: _Ticket, owner: str) -> None:
        ticket.owners.add(owner)
        self._queues.setdefault(owner, deque()).append(ticket)

    def _take_out(self, ticket: _Ticket) -> None:
        for owner in ticket.owners:
            queue = self._queues.get(owner)
            if queue is not None:
                with suppress(ValueError):
                    queue.remove(ticket)
                if not queue:
                    del self._queues[owner]
        ticket.owners.clear()

    def _may_begin(self, owner: str) -> bool:
        own = self._active.get(owner, 0)
        return self._active.total() < self._limit and (not owner or own < self._most)

    def _begin_next(self) -> None:
        while (owner := next(filter(self._may_begin, self._queues), None)) is not None:
            queue = self._queues.pop(owner)
            ticket = queue[0]
            self._queues[owner] = queue  # its next turn is after everyone else's
            self._take_out(ticket)
            if not ticket.turn.done():
                self._active[owner] += 1
                ticket.turn.set_result(owner)
