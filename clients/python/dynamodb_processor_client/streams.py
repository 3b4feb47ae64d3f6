"""Streams that resume after a break, without a lost or repeated item."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from dynamodb_processor.v1.query_service_pb2 import StreamQueryRequest, StreamQueryResponse
from dynamodb_processor_client.errors import (
    DeadlineExceeded,
    QueryError,
    Unauthenticated,
    Unavailable,
    typed_errors,
)
from dynamodb_processor_client.freshness import OperationTokens
from dynamodb_processor_client.options import Budget
from dynamodb_processor_client.pages import Page, PageStats, Total
from dynamodb_processor_client.progress import (
    IdleCalls,
    has_progressed,
    is_cut_by_service,
    no_progress,
)
from dynamodb_processor_client.resume_policy import ResumePolicy
from dynamodb_processor_client.stream_frames import StreamFrames
from dynamodb_processor_client.transport import Interrupted, read, read_status
from dynamodb_processor_client.values import Item

_MAX_IDLE_MESSAGES = 100
# The service's reason for a bearer token that has expired, perhaps during the stream.
_EXPIRED = "BEARER_TOKEN_EXPIRED"

if TYPE_CHECKING:
    from dynamodb_processor_client.transport import StreamCall

    OpenCall: TypeAlias = Callable[[StreamQueryRequest, float | None], Awaitable[StreamCall]]


class PageStream(AsyncIterator[Page], StreamFrames):
    """An iterator over the pages of a result, as they arrive.

    A page without items reports the progress of a long search. If a budget of the caller ends the
    stream, the last page has a token, and `end` has the reason. Any other early end is an error.

    The only state is the progress, so a resumption is a call for the rest. After a cancelled wait
    for a page (`asyncio.wait_for`), iteration continues with the next item.
    """

    def __init__(
        self,
        open_call: OpenCall,
        request: StreamQueryRequest,
        *,
        tokens: OperationTokens,
        budget: Budget | None,
        timeout: float | None,
        policy: ResumePolicy,
        renews_token: bool = False,
    ) -> None:
        """Prepare a stream; `QueryClient.pages` is the public way.

        The request is sent, and the time of the deadline starts, with the first page. With
        `renews_token`, a stream whose bearer token has expired is resumed with another.
        """
        self._open_call = open_call
        self._request = request
        self._tokens = tokens
        self._budget = budget
        self._timeout = timeout
        self._policy = policy
        self._renews_token = renews_token
        self._call: StreamCall | None = None
        self._started_at: float | None = None
        self._has_begun = False
        self._is_over = False
        self._is_closed = False
        self._attempt = 0
        self._idle_calls = IdleCalls()
        self._last_message_at = 0.0
        self._idle_messages = 0
        self._has_progressed = False
        self._resume_token = request.resume_token
        self._earlier_calls = PageStats()
        self._this_call = PageStats()
        self._total: Total | None = None

    @property
    def resume_token(self) -> str:
        """The token to continue after the pages so far; empty when all pages were delivered.

        Before the first page it is the token that the stream was made with.
        """
        return self._resume_token

    @property
    def freshness_token(self) -> str:
        """The token for `CachePolicy.not_before_token` of later calls; empty before the first page.

        It covers all pages so far.
        """
        return self._tokens.text

    @property
    def stats(self) -> PageStats:
        """The cost of the stream so far, over all its calls."""
        return self._earlier_calls + self._this_call

    @property
    def total(self) -> Total | None:
        """The number of matching items: `None` before the first page, or if not requested."""
        return self._total

    async def __anext__(self) -> Page:
        """Return the next page.

        Raises:
            QueryError: The service refused, or the stream broke and could not be resumed. The
                error's `resume_token` continues after the last page.
        """
        while not (self._is_over or self._is_closed):
            try:
                return await self._accept(await self._receive())
            except QueryError as error:
                if self._is_closed:
                    self._cancel_call()
                else:
                    await self._recover(error)
            except Interrupted:
                self._cancel_call()
                raise
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the stream; the service stops reading for it."""
        self._is_closed = True
        self._cancel_call()

    def __del__(self) -> None:
        """End an abandoned stream, which gRPC itself would keep open (grpc#43462)."""
        self._cancel_call()

    async def _batches(self) -> AsyncIterator[Sequence[Item]]:
        async for page in self:
            yield page.items

    async def _receive(self) -> StreamQueryResponse:
        call = self._call or await self._open()
        if self._is_closed:  # by another thread or task, while the call was opened
            raise Unavailable("the stream was closed", reason="STREAM_CLOSED")
        with typed_errors():
            message = await read(call)
        if message is not None:
            return message
        raise Unavailable("the stream ended before its last message", reason="STREAM_INCOMPLETE")

    async def _open(self) -> StreamCall:
        now = self._policy.clock()
        if self._started_at is None:
            self._started_at = now
        remaining = self._remaining(now)
        if remaining is not None and remaining <= 0:
            raise DeadlineExceeded("the deadline passed", reason="DEADLINE_EXCEEDED")
        self._request.resume_token = self._resume_token
        self._tokens.refresh()
        self._tokens.apply_to(self._request)
        budget = self._budget_left(now)
        if budget is not None:
            self._request.budget.CopyFrom(budget.to_message())
        self._last_message_at, self._has_progressed = now, False
        self._call = call = await self._open_call(self._request, remaining)
        return call

    async def _accept(self, message: StreamQueryResponse) -> Page:
        page = Page.from_message(message)
        call = self._call
        if message.last and call is not None:
            await read_status(call)
        self._check_progress(message, page)
        if self._total is None:
            self._total = page.total
            self._request.ClearField("total")  # a resumption does not count again
        self._tokens.record(message.freshness_token)
        page = replace(page, total=self._total, freshness_token=self._tokens.text)
        self._has_begun = True
        self._resume_token = message.resume_token
        self._this_call = PageStats.from_message(message.cumulative)
        if message.last:
            self._cancel_call()
            is_cut = is_cut_by_service(message.end, message.resume_token, self._budget)
            self._is_over = not is_cut or self._is_budget_spent()
            self._idle_calls.record(progressed=self._has_progressed or self._is_over)
        return page

    def _check_progress(self, message: StreamQueryResponse, page: Page) -> None:
        """Record whether the stream made progress with this message."""
        token = message.resume_token
        if message.items and token and token == self._resume_token:
            raise no_progress("items came with the token of their own request")
        now = self._policy.clock()
        seconds, self._last_message_at = now - self._last_message_at, now
        if (
            message.items
            or not token
            or has_progressed(self._resume_token, token, page.stats, seconds)
        ):
            self._has_progressed = True
            self._attempt = self._idle_messages = 0
            return
        self._idle_messages += 1
        if self._idle_messages > _MAX_IDLE_MESSAGES:
            raise no_progress(f"{self._idle_messages} messages in a row without progress")

    async def _recover(self, error: QueryError) -> None:
        """Wait before a resumption, or end the stream, or raise `error` if neither applies."""
        self._cancel_call()
        if self._has_begun and not self._resume_token:
            self._is_over = True  # It broke after the last item.
            return
        if self._tokens.replace_unreadable(error):
            return
        if not self._may_resume(error):
            self._fail(error)
        self._attempt += 1
        pause = self._policy.backoff_delay(self._attempt, error)
        remaining = self._remaining(self._policy.clock())
        if self._attempt > self._policy.attempts or (remaining is not None and pause >= remaining):
            self._fail(error)
        await self._policy.sleep(pause)
        # Checked after the pause, because the pause spends the caller's time budget.
        self._is_over = self._is_budget_spent()

    def _may_resume(self, error: QueryError) -> bool:
        if isinstance(error, Unauthenticated):
            return self._has_begun and self._renews_token and error.reason == _EXPIRED
        return (
            self._has_begun
            and isinstance(error, Unavailable)
            and error.may_retry
            and (error.retry_after or 0.0) <= self._policy.max_retry_after
        )

    def _fail(self, error: QueryError) -> None:
        self._is_over = True
        error.resume_token = self._resume_token
        raise error

    def _cancel_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        self._earlier_calls += self._this_call
        self._this_call = PageStats()

    def _remaining(self, now: float) -> float | None:
        if self._timeout is None or self._started_at is None:
            return self._timeout
        return self._started_at + self._timeout - now

    def _is_budget_spent(self) -> bool:
        return self._budget is not None and self._budget_left(self._policy.clock()) is None

    def _budget_left(self, now: float) -> Budget | None:
        if self._budget is None or self._started_at is None:
            return self._budget
        elapsed = timedelta(seconds=now - self._started_at)
        return self._budget.after(self._earlier_calls, elapsed)


class ItemStream(AsyncIterator[Item], StreamFrames):
    """An iterator over the items of a result, across its pages."""

    def __init__(self, pages: PageStream) -> None:
        """Iterate over the items of `pages`; `QueryClient.stream` is the public way."""
        self._pages = pages
        self._items: deque[Item] = deque()
        self._is_closed = False
        self._before_page = pages.resume_token

    @property
    def resume_token(self) -> str:
        """The token to continue after the iteration; empty when all items were delivered.

        In the middle of a page it is the token of that page, whose first items would come again.
        """
        return self._before_page if self._items else self._pages.resume_token

    @property
    def freshness_token(self) -> str:
        """The token for `CachePolicy.not_before_token`, as that of `PageStream`."""
        return self._pages.freshness_token

    @property
    def stats(self) -> PageStats:
        """The cost of the stream so far, over all its calls."""
        return self._pages.stats

    @property
    def total(self) -> Total | None:
        """The number of matching items: `None` before the first item, or if not requested."""
        return self._pages.total

    async def __anext__(self) -> Item:
        """Return the next item.

        Raises:
            QueryError: The service refused, or the stream broke and could not be resumed. The
                error's `resume_token` continues after the last item.
        """
        if self._is_closed:
            raise StopAsyncIteration
        while not self._items:
            self._before_page = self._pages.resume_token
            self._items.extend((await anext(self._pages)).items)
        return self._items.popleft()

    async def aclose(self) -> None:
        """End the stream; the service stops reading for it."""
        self._is_closed = True
        await self._pages.aclose()

    async def _batches(self) -> AsyncIterator[Sequence[Item]]:
        async for item in self:
            yield (item,)
