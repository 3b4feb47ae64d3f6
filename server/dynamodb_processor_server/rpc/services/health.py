"""Implements the standard health service, `grpc.health.v1.Health`: liveness, readiness and Watch.

Setting a status never waits for a client. Each Watch call has its own event and writes the latest
status itself, so a client that does not read delays only itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2

from dynamodb_processor_server.errors import Draining, InvalidRequest, Overloaded

_Context = grpc.aio.ServicerContext[Any, Any]
_CheckResponse: Final[Any] = health_pb2.HealthCheckResponse
_LIST_RESPONSE: Final[Any] = health_pb2.DESCRIPTOR.message_types_by_name["HealthListResponse"]
_ListResponse: Final[Any] = GetMessageClass(_LIST_RESPONSE)  # the stubs lack it

# A Watch call keeps its request while it is open, and needs no authentication.
_MAX_REQUEST_BYTES: Final = 512
_MAX_PER_CONNECTION: Final = 16
_RETRY_AFTER: Final = 5.0  # seconds
_SHUTTING_DOWN: Final = "the server is shutting down; watch another"
_LAST_WRITE_SECONDS: Final = 1.0  # for the last status of a Watch, once the server stops


class Health:
    """The health servicer. `liveness` is always SERVING; every other name follows readiness."""

    def __init__(self, services: Sequence[str], max_watches: int) -> None:
        """Create the servicer in the state "not ready".

        Args:
            services: Full names of the services that follow readiness, as "" and "readiness" do.
            max_watches: Watch calls open at once, at least 2. No address has more than half of
                them, no connection more than 16.
        """
        self._following = ("", "readiness", *services)
        self._statuses: dict[str, int] = dict.fromkeys(self._following, _CheckResponse.NOT_SERVING)
        self._statuses["liveness"] = _CheckResponse.SERVING
        self._watches = _Watches(max_watches)

    @property
    def watches(self) -> int:
        """The number of open Watch calls."""
        return len(self._watches)

    @property
    def is_ready(self) -> bool:
        """Whether the server is ready for calls."""
        return bool(self._statuses["readiness"] == _CheckResponse.SERVING)

    def set_ready(self, ready: bool) -> None:
        """Publish whether the server is ready for calls."""
        status = _CheckResponse.SERVING if ready else _CheckResponse.NOT_SERVING
        self._statuses.update(dict.fromkeys(self._following, status))
        self._watches.wake()

    def end_watches(self) -> None:
        """End every Watch call, after its latest status if that can be written."""
        self._watches.end()

    async def Check(  # noqa: N802 - the method's name in its contract
        self, request: health_pb2.HealthCheckRequest, context: _Context
    ) -> Message:
        """Return the status of one name; NOT_FOUND if there is no such name."""
        status = self._statuses.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        response: Message = _CheckResponse(status=status)
        return response

    async def List(  # noqa: N802 - the method's name in its contract
        self, request: Message, context: _Context
    ) -> Message:
        """Return the status of every name."""
        statuses = {name: _CheckResponse(status=status) for name, status in self._statuses.items()}
        response: Message = _ListResponse(statuses=statuses)
        return response

    async def Watch(  # noqa: N802 - the method's name in its contract
        self, request: health_pb2.HealthCheckRequest, context: _Context
    ) -> None:
        """Write the status of one name, now and after each change.

        A name that does not exist is SERVICE_UNKNOWN. A client that reads slowly gets the latest
        status and misses those before it.
        """
        if request.ByteSize() > _MAX_REQUEST_BYTES:
            raise InvalidRequest.of(
                "service", f"is too long: the request may have {_MAX_REQUEST_BYTES} bytes"
            )
        with self._watches.open(context.peer()) as watch:
            written = None
            while True:
                watch.changed.clear()
                status = self._statuses.get(request.service, _CheckResponse.SERVICE_UNKNOWN)
                if status != written:
                    await watch.write(context, _CheckResponse(status=status))
                    written = status
                elif watch.ended:
                    raise Draining(_SHUTTING_DOWN)
                else:
                    await watch.changed.wait()


class _Watch:
    """One open Watch call: `changed` wakes it."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.ended = False
        self._writing: asyncio.Timeout | None = None

    async def write(self, context: _Context, response: Message) -> None:
        """Send a response without a time bound, or until shortly after `end`."""
        try:
            limit = _LAST_WRITE_SECONDS if self.ended else None
            async with asyncio.timeout(limit) as self._writing:
                await context.write(response)
        except TimeoutError:
            # The response is still being sent, so no status could follow it. The call ends with its
            # connection.
            raise asyncio.CancelledError from None
        except grpc.aio.InternalError:
            # gRPC could not send: the client has disconnected, which is no failure of the server.
            raise asyncio.CancelledError from None
        finally:
            self._writing = None

    def end(self) -> None:
        """Wake the call so that it ends, and give a write in progress one more second."""
        self.ended = True
        self.changed.set()
        if self._writing is not None:
            self._writing.reschedule(asyncio.get_running_loop().time() + _LAST_WRITE_SECONDS)


class _Watches:
    """The open Watch calls, bounded in all, by address and by connection."""

    def __init__(self, limit: int) -> None:
        if limit < 2:
            raise ValueError("limit must be at least 2")
        self._ended = False
        self._limit = limit
        self._open: set[_Watch] = set()
        self._by_connection: Counter[str] = Counter()
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def open(self, peer: str) -> Iterator[_Watch]:
        """Count a call from `peer`, such as "ipv4:127.0.0.1:40000"; raise Overloaded if too many.

        The whole text identifies a connection; the part before the port is its address.
        """
        address = peer.rpartition(":")[0]
        if self._by_connection[peer] >= _MAX_PER_CONNECTION:
            raise Overloaded("too many health watches are open on this connection", _RETRY_AFTER)
        if self._by_address[address] >= self._limit // 2:
            raise Overloaded("too many health watches are open from this address", _RETRY_AFTER)
        if len(self._open) >= self._limit:
            raise Overloaded("too many health watches are open", _RETRY_AFTER)
        if self._ended:
            raise Draining(_SHUTTING_DOWN)
        watch = _Watch()
        self._open.add(watch)
        counts = ((self._by_connection, peer), (self._by_address, address))
        for counter, key in counts:
            counter[key] += 1
        try:
            yield watch
        finally:
            self._open.discard(watch)
            for counter, key in counts:
                counter[key] -= 1
                if not counter[key]:
                    del counter[key]

    def wake(self) -> None:
        """Wake every call."""
        for watch in self._open:
            watch.changed.set()

    def end(self) -> None:
        """End every call, and refuse new ones."""
        self._ended = True
        for watch in self._open:
            watch.end()
