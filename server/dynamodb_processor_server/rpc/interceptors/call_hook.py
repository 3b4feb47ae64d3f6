"""What happens around calls: at the start, before each response, when one was sent, at the end.

Hooks know nothing of gRPC's kinds of methods; `adapter.py` runs them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence

from dynamodb_processor_server.rpc.call_context import Call


class CallHook(ABC):
    """Something that happens around calls."""

    @abstractmethod
    def applies_to(self, method: str) -> bool:
        """Return whether calls of a method, by full name with slashes, concern this hook."""

    @abstractmethod
    def on_start(self, call: Call) -> Awaitable[None] | None:
        """Note the start of a call, or raise a domain error to refuse it.

        Returns what the call has to wait for, if anything: few hooks wait, and a coroutine for each
        of the others would cost more than what they do.
        """

    def on_response(self, call: Call) -> None:  # noqa: B027 - most hooks decide at the start alone
        """Check a running call again before each of its responses, or raise to end it."""

    def on_send(self, call: Call, size: int) -> None:  # noqa: B027 - most hooks let all answers out
        """Note that a message of `size` bytes goes to gRPC, or raise a domain error instead."""

    def on_sent(self, call: Call, size: int) -> None:  # noqa: B027 - as above
        """Note that gRPC has sent a message of a stream; the call goes on."""

    def on_end(self, call: Call) -> None:  # noqa: B027 - most hooks hold nothing for a call
        """Note the end of a call that this hook let start; `call.code` says how it ended."""


class Chain:
    """The hooks around one method: what to run at a call's start, at each response, at its end."""

    def __init__(self, hooks: Sequence[CallHook]) -> None:
        self.starts = tuple([hook.on_start for hook in hooks])
        self.response_checks = tuple(
            [
                hook.on_response
                for hook in hooks
                if type(hook).on_response is not CallHook.on_response
            ]
        )
        self.sends = tuple(
            [hook.on_send for hook in hooks if type(hook).on_send is not CallHook.on_send]
        )
        self.sents = tuple(
            [hook.on_sent for hook in hooks if type(hook).on_sent is not CallHook.on_sent]
        )
        # In reverse; an end is for calls that have passed more starts than its place.
        self.ends = tuple(
            [
                (place, hook.on_end)
                for place, hook in reversed(list(enumerate(hooks)))
                if type(hook).on_end is not CallHook.on_end
            ]
        )
