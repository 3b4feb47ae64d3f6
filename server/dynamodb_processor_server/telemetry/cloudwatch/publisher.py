"""Publishes the core metrics to CloudWatch at intervals, off the path of requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from dynamodb_processor_server.telemetry.cloudwatch.sampler import Datum

_log = structlog.get_logger(__name__)

#: Sends data; raises NotSent.
Send = Callable[[Sequence[Datum]], Awaitable[None]]


class NotSent(Exception):
    """Data could not be sent; the text is the reason."""


class Publisher:
    """Samples in a thread and sends; data that cannot be sent in time is dropped and counted.

    Args:
        sample: Returns the data of the moment.
        send: Sends data.
        interval: Seconds between two samples.
        timeout: Seconds for sampling and sending, after which the data is dropped.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        sample: Callable[[], list[Datum]],
        send: Send,
        interval: float,
        timeout: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._sample = sample
        self._send = send
        self._interval = interval
        self._timeout = timeout
        self._sleep = sleep
        self._is_reached = True
        self.dropped = 0

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            await self._sleep(self._interval)
            await self.publish()

    async def publish(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - data is dropped
        """Sample once, and send or drop the data; `timeout` is a shorter one, in seconds.

        No error leaves it: the next data may well be sent, and a shutdown has other things to do.
        """
        seconds = timeout or self._timeout
        data: Sequence[Datum] = ()
        try:
            async with asyncio.timeout(seconds):
                data = await asyncio.to_thread(self._sample)
                await self._send(data)
        except TimeoutError:
            self._drop(data, f"no answer in {seconds:g} s")
        except NotSent as error:
            self._drop(data, str(error))
        except Exception as error:  # noqa: BLE001 - such as botocore's for a wrong endpoint
            # The type alone: the text may have an address with a password.
            self._drop(data, f"failed with {type(error).__name__}")
        else:
            if not self._is_reached:
                _log.info("cloudwatch_reached")
            self._is_reached = True

    def _drop(self, data: Sequence[Datum], reason: str) -> None:
        """Count the data, and log the first failure after a success."""
        self.dropped += len(data)
        if self._is_reached:
            _log.warning("cloudwatch_not_reached", reason=reason)
        self._is_reached = False
