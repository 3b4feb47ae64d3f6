"""How recent the answers of an operation have to be, and the tokens that they bring."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from dynamodb_processor_client import argument_checks as check
from dynamodb_processor_client.errors import InvalidArgument
from dynamodb_processor_client.options import CachePolicy
from dynamodb_processor_client.session_state import MAX_TOKENS, SessionState, with_answer

if TYPE_CHECKING:
    from dynamodb_processor.v1.query_service_pb2 import (
        BatchGetItemsRequest,
        CountItemsRequest,
        QueryRequest,
        StreamQueryRequest,
    )

    _Request: TypeAlias = (
        QueryRequest | StreamQueryRequest | CountItemsRequest | BatchGetItemsRequest
    )

# Between tokens; a character that base64 does not have, and that cookies and URLs may have.
_SEPARATOR: Final = "."
# The field of a token that the service cannot read, such as one whose key was rotated away.
_UNREADABLE: Final = "cache.not_before_token"


@dataclass(frozen=True, slots=True)
class SessionPolicy(CachePolicy):
    """A cache policy with the bounds of a session, which also learns the tokens of the answers."""

    state: SessionState = field(default_factory=SessionState)


class OperationTokens:
    """The freshness tokens of one operation, which may need several calls, one after the other."""

    def __init__(self, cache: CachePolicy | None, table: str) -> None:
        """Begin an operation on a table with the caller's cache policy.

        Raises:
            TypeError: `cache` is not a cache policy.
        """
        self._policy = check.instance("cache", cache, CachePolicy)
        self._session = cache.state if isinstance(cache, SessionPolicy) else None
        self._table = table
        self._answers: tuple[str, ...] = ()
        self._sent: Collection[str] = ()
        self._has_replaced = False
        self.refresh()

    @property
    def text(self) -> str:
        """The tokens of the answers so far: for `CachePolicy.not_before_token`."""
        return _SEPARATOR.join(self._answers)

    def refresh(self) -> None:
        """Take over the session's bounds of this moment for the calls from here on."""
        policy = self._policy
        given = policy.not_before_token if policy else ""
        tokens, written = self._session.bounds(self._table) if self._session else ((), None)
        self._tokens = {*tokens, *(given.split(_SEPARATOR) if given else ())}
        times = (written, policy.not_before if policy else None)
        self._written = written
        self._not_before = max((time for time in times if time is not None), default=None)

    def apply_to(self, request: _Request) -> None:
        """Set the cache policy of the next call's request.

        The calls of one operation need not be as recent as each other. But when their tokens
        become too many, the next call sends them, so that its own token replaces them.
        """
        tokens = set(self._tokens)
        if len(self._answers) >= MAX_TOKENS:
            tokens.update(self._answers)
        self._sent = tokens
        request.ClearField("cache")
        if self._policy is None and not tokens:
            return
        policy = self._policy or CachePolicy()
        sent = CachePolicy(
            mode=policy.mode,
            max_staleness=policy.max_staleness,
            not_before=self._not_before,
            not_before_token=_SEPARATOR.join(sorted(tokens)),
        )
        request.cache.CopyFrom(sent.to_message())

    def record(self, token: str) -> None:
        """Record the token of an answer to the last call.

        In a stream it covers the messages before, and with them the tokens that the call sent. A
        replica of an older release sends none.
        """
        if not token:
            return
        self._answers = with_answer(self._answers, self._sent, token)
        if self._session is not None:
            self._session.record(self._table, self._sent, token, self._written)
        self._sent = (token,)

    def replace_unreadable(self, error: Exception) -> bool:
        """Replace a session's tokens by the current time if the service cannot read them any more.

        Returns whether it did so, once in an operation: then the call may be made again.
        """
        if self._session is None or self._has_replaced or not _is_unreadable(error):
            return False
        self._has_replaced = True
        self._session.forget(self._table, self._sent)
        self._answers = ()
        self.refresh()
        return True


def _is_unreadable(error: Exception) -> bool:
    return isinstance(error, InvalidArgument) and any(
        violation.subject == _UNREADABLE for violation in error.violations
    )
