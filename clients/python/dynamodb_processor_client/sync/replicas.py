# Written by `make proto` from the asynchronous client's `replicas.py`. Do not edit.
"""A channel to several replicas, of which each call takes the one that owns its affinity key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, Final, cast

import grpc

from dynamodb_processor_client.channel import ChannelOptions, replica_options
from dynamodb_processor_client.errors import Unavailable, from_rpc_error
from dynamodb_processor_client.rendezvous import ranking
from dynamodb_processor_client.sync.affinity import AFFINITY_HEADER
from dynamodb_processor_client.sync.deadlines import Deadline
from dynamodb_processor_client.sync.transport import (
    Channel,
    MovingStream,
    connection_failed,
    open_channel,
)
from dynamodb_processor_client.trace_context import Metadata

# Of errors with which a replica has not begun with the call: no connection, or a stopping replica.
# Others, such as overload, would be no better elsewhere, and more calls would make them worse.
_NOT_BEGUN: Final = ("", "DRAINING")
_TOO_LATE: Final = "no replica had answered by then"


def open_channels(
    targets: Sequence[str],
    credentials: grpc.ChannelCredentials | None,
    options: ChannelOptions,
    clock: Callable[[], float],
) -> Channel:
    """Return a channel to one target, or one that chooses among several for each call."""
    if len(targets) == 1:
        return open_channel(targets[0], credentials, options)
    options = replica_options(options)
    channels = [open_channel(target, credentials, options) for target in targets]
    # Stubs and the client use no more of a channel than this class has.
    return cast(Channel, Replicas(targets, channels, clock))


class Replicas:
    """Channels to replicas. A call goes to the owner of its key, or to the next one if it is down.

    Calls without a key, such as those of the catalog, go to the replicas in turn.
    """

    def __init__(
        self, targets: Sequence[str], channels: Sequence[Channel], clock: Callable[[], float]
    ) -> None:
        """Begin to connect; `clock` returns seconds, for the deadline of a call that moves on."""
        self._targets = targets
        self._channels = channels
        self._have_failed = [connection_failed(channel) for channel in channels]
        self._calls = count()
        self._clock = clock

    def unary_unary(self, *method: Any, **codecs: Any) -> Callable[..., Any]:
        """Return what makes calls of a unary method, as the channels of gRPC do."""

        def call(
            request: Any,
            *,
            timeout: float | None,
            metadata: Metadata,
        ) -> Any:
            deadline = Deadline(timeout, self._clock)
            *earlier, last = self._candidates(metadata)
            for channel in earlier:
                left = deadline.remaining(0.0, _TOO_LATE)
                make = channel.unary_unary(*method, **codecs)
                try:
                    return make(request, timeout=left, metadata=metadata)
                except grpc.RpcError as error:
                    if not _has_not_begun(error):
                        raise
            left = deadline.remaining(0.0, _TOO_LATE)
            make = last.unary_unary(*method, **codecs)
            return make(request, timeout=left, metadata=metadata)

        return call

    def unary_stream(self, *method: Any, **codecs: Any) -> Callable[..., Any]:
        """Return what opens streams; one that breaks later is opened again by the client."""

        def call(request: Any, *, timeout: float | None, metadata: Metadata) -> Any:
            deadline = Deadline(timeout, self._clock)

            def calls() -> Iterator[Any]:
                for channel in self._candidates(metadata):
                    left = deadline.remaining(0.0, _TOO_LATE)
                    make = channel.unary_stream(*method, **codecs)
                    yield make(request, timeout=left, metadata=metadata)

            return MovingStream(calls(), _has_not_begun)

        return call

    def close(self) -> None:
        """Close every channel."""
        for channel in self._channels:
            channel.close()

    def _candidates(self, metadata: Metadata) -> list[Channel]:
        """Return the channels to try, in order: those that can be reached, or all if none can."""
        key = next((value for name, value in metadata if name == AFFINITY_HEADER), None)
        if key is None:
            first = next(self._calls) % len(self._channels)
            ranked = [*range(first, len(self._channels)), *range(first)]
        else:
            ranked = ranking(key, self._targets)
        reachable = [index for index in ranked if not self._have_failed[index]()]
        return [self._channels[index] for index in reachable or ranked]


def _has_not_begun(error: grpc.RpcError) -> bool:
    typed = from_rpc_error(error)
    return isinstance(typed, Unavailable) and typed.reason in _NOT_BEGUN
