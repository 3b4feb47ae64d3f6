"""Questions that many callers have at the same time: each is asked once, and waited for in bounds.

A question is a task of its own. A caller who leaves (deadline, cancellation) disturbs nobody; with
the last one the question is given up.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from dynamodb_processor_server.errors import DeadlineExceeded, Overloaded, RateLimited

_MOST_WAITING: Final = 1_000  # callers, for all questions
_RETRY_AFTER: Final = 1.0  # seconds

_T = TypeVar("_T")


class _Flight(Generic[_T]):
    def __init__(self, task: asyncio.Task[_T]) -> None:
        self.task = task
        self.waiters = 0


class SingleFlight(Generic[_T]):
    """The questions under way, by name.

    A caller waits for `patience` seconds at most, by the event loop's clock, or until its deadline,
    with which it is cancelled.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._questions: dict[str, _Flight[_T]] = {}
        self._waiting = 0
        self._by_asker: Counter[str] = Counter()

    async def call(
        self, name: str, question: Callable[[], Coroutine[Any, Any, _T]], asker: str = ""
    ) -> _T:
        """Return the answer to a question, which is asked now unless it is under way.

        Raises what it raises, Overloaded if too many wait already, RateLimited if half of those are
        the asker's own, and DeadlineExceeded.
        """
        if asker and self._by_asker[asker] >= _MOST_WAITING // 2:
            message = "too many calls of this principal wait for descriptions of tables"
            raise RateLimited(asker, message, _RETRY_AFTER)
        if self._waiting >= _MOST_WAITING:
            raise Overloaded("too many calls wait for descriptions of tables", _RETRY_AFTER)
        asked = self._questions.get(name) or self._start(name, question)
        self._waiting += 1
        self._by_asker[asker] += 1
        asked.waiters += 1
        try:
            await asyncio.wait((asked.task,), timeout=self._patience)
            if not asked.task.done():
                raise DeadlineExceeded("the deadline passed before DynamoDB described its tables")
            return asked.task.result()
        finally:
            self._waiting -= 1
            self._by_asker[asker] -= 1
            if not self._by_asker[asker]:
                del self._by_asker[asker]
            asked.waiters -= 1
            if not asked.waiters and not asked.task.done():
                self._remove(name, asked)
                asked.task.cancel()

    def forget(self) -> None:
        """Have nobody else wait for what is under way, as its answer may be out of date."""
        self._questions.clear()

    def _start(self, name: str, question: Callable[[], Coroutine[Any, Any, _T]]) -> _Flight[_T]:
        asked = self._questions[name] = _Flight(asyncio.create_task(question(), name=name))
        asked.task.add_done_callback(lambda _: self._on_done(name, asked))
        return asked

    def _on_done(self, name: str, asked: _Flight[_T]) -> None:
        self._remove(name, asked)
        if not asked.task.cancelled():
            asked.task.exception()  # marks it as seen: every waiter may have left by now

    def _remove(self, name: str, asked: _Flight[_T]) -> None:
        if self._questions.get(name) is asked:
            del self._questions[name]
