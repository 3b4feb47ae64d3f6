"""Defines hooks: code that runs when a call starts, before and after each response, and at its end.

Hooks do not depend on gRPC's kinds of methods; `chain.py` runs them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence

from dynamodb_processor_server.rpc.call_context import Call


class CallHook(ABC):
    """Code that runs around calls."""

    @abstractmethod
    def applies_to(self, method: str) -> bool:
        """Return whether this hook runs around calls of a method, by full name with slashes."""

    @abstractmethod
    def on_start(self, call: Call) -> Awaitable[None] | None:
        """Handle the start of a call, or raise a domain error to refuse it.

        Returns an awaitable that the call has to await, or None. Few hooks wait, and a coroutine
        for each of the others would cost more than the hook itself.
        """

    def on_response(self, call: Call) -> None:  # noqa: B027 - most hooks decide at the start alone
        """Check a running call again before each of its responses, or raise to end it."""

    def on_send(self, call: Call, size: int) -> None:  # noqa: B027 - most hooks bound no responses
        """Handle a message of `size` bytes before gRPC gets it, or raise a domain error."""

    def on_sent(self, call: Call, size: int) -> None:  # noqa: B027 - as above
        """Handle that gRPC has sent a message of a stream; the call continues."""

    def on_end(self, call: Call) -> None:  # noqa: B027 - most hooks hold nothing for a call
        """Handle the end of a call that this hook let start; `call.code` is its status."""


class Chain:
    """The hooks around one method, by event; hooks that ignore an event are left out."""

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
        # In reverse order; an end runs if its hook's start has run, which the index tells.
        self.ends = tuple(
            [
                (index, hook.on_end)
                for index, hook in reversed(list(enumerate(hooks)))
                if type(hook).on_end is not CallHook.on_end
            ]
        )
