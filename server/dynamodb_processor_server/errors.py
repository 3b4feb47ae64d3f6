"""Domain errors, independent of gRPC.

`rpc/encode/status.py` has the one table that turns them into gRPC statuses and details. Their
messages are written for callers and reach them. For any other exception callers get a fixed text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

#: Every reason of a `PreconditionFailed`.
PreconditionReason = Literal[
    "ACCESS_CHANGED",
    "ACCESS_RULES",
    "INDEX_GONE",
    "INDEX_NOT_USABLE",
    "ITEM_TOO_LARGE",
    "NOT_CACHED",
    "SCAN_NOT_ALLOWED",
    "TOKEN_EXPIRED",
    "TOKEN_TOO_LONG",
]


#: Every reason of a `BearerTokenRefused`.
BearerTokenReason = Literal[
    "BEARER_TOKEN_AUDIENCE",
    "BEARER_TOKEN_CLAIM",
    "BEARER_TOKEN_EXPIRED",
    "BEARER_TOKEN_INVALID",
    "BEARER_TOKEN_ISSUER",
    "BEARER_TOKEN_KEY",
    "BEARER_TOKEN_NOT_YET_VALID",
]


class ProcessorError(Exception):
    """The root of the errors whose message may be shown to callers.

    `reason` is the machine-readable name that goes into `google.rpc.ErrorInfo`.
    """

    reason = "INTERNAL"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One violation in a request: the field's path in proto names, and a description."""

    field: str
    description: str


#: Violations of one request that are named; a caller can make more than anybody would read.
MAX_VIOLATIONS: Final = 20


class InvalidRequest(ProcessorError):
    """The request itself is wrong, in any state of the service.

    The first `MAX_VIOLATIONS` are in `violations`; `more` is how many there are besides.
    """

    reason = "INVALID_REQUEST"

    def __init__(self, violations: Sequence[FieldViolation], more: int = 0) -> None:
        self.violations = tuple(violations[:MAX_VIOLATIONS])
        self.more = more + len(violations) - len(self.violations)
        texts = [f"{v.field}: {v.description}" for v in self.violations]
        if self.more:
            texts.append(f"and {self.more} more")
        super().__init__("; ".join(texts))

    @classmethod
    def of(cls, field: str, description: str) -> InvalidRequest:
        """Return the error for a single violation."""
        return cls([FieldViolation(field, description)])


class Unauthenticated(ProcessorError):
    """The caller sent no credential, or one that is unknown, removed or expired.

    `retry_after_wait` waits until the same credential may be accepted, if that is possible.
    """

    reason = "UNAUTHENTICATED"
    retry_after_wait: Callable[[], Awaitable[None]] | None = None


class BearerTokenRefused(Unauthenticated):
    """The caller sent a bearer token that is not valid here. The message never has the token."""

    def __init__(
        self,
        reason: BearerTokenReason,
        message: str,
        retry_after_wait: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(f"the bearer token {message}")
        self.reason = reason
        self.retry_after_wait = retry_after_wait


class PermissionDenied(ProcessorError):
    """The caller is known but may not do this. Raised before existence is checked."""

    reason = "PERMISSION_DENIED"


class TableNotFound(ProcessorError):
    """The table is granted but does not exist."""

    reason = "TABLE_NOT_FOUND"


class PreconditionFailed(ProcessorError):
    """The request is well-formed but cannot be served as things are.

    `subject` is the subject of the condition, such as a table's name or a request field.
    """

    def __init__(self, reason: PreconditionReason, subject: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.subject = subject


class ItemTooLarge(PreconditionFailed):
    """An item has more bytes as a message than callers accept.

    `name` is its key, as far as the caller may see it. `behind` is the cursor that follows it, None
    where nothing does or there is no order. `token` is the page token for it.
    """

    def __init__(
        self, name: str, size: int, limit: int, behind: bytes | None = None, token: str = ""
    ) -> None:
        way_on = "; next_page_token in this error's ErrorInfo goes on behind it" if token else ""
        super().__init__(
            "ITEM_TOO_LARGE",
            name,
            f"the item {name} has {size} bytes as a message, more than the {limit} that are sent: "
            f"ask for fewer of its attributes by projection{way_on}",
        )
        self.behind = behind
        self.token = token
        self._arguments = name, size, limit, behind

    def with_token(self, token: str) -> ItemTooLarge:
        """Return the error for a caller that may continue from a token."""
        return ItemTooLarge(*self._arguments, token=token)


class IndexGone(PreconditionFailed):
    """DynamoDB does not know the index that was read, although the table was described with it."""

    def __init__(self, table: str) -> None:
        super().__init__("INDEX_GONE", table, "the index read so far no longer exists")


class RateLimited(ProcessorError):
    """The caller is over one of its limits. `retry_after` is in seconds."""

    reason = "RATE_LIMITED"

    def __init__(self, subject: str, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.subject = subject
        self.retry_after = retry_after


class Overloaded(ProcessorError):
    """The server takes no more reads at the moment. `retry_after` is in seconds."""

    reason = "OVERLOADED"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BackendUnavailable(ProcessorError):
    """DynamoDB throttled, failed or could not be reached.

    `retry_after` is in seconds, and so is `pushback`: the pause for clients that retry by
    themselves. A negative one forbids retries, None leaves it to the clients.

    `reasons` are DynamoDB's reasons for throttling, and `resource` the global index that they name,
    or "@table"; None if they name none. Callers may learn them only where they may see the index.
    `is_out_of_time` says that the deadline left no time for another attempt.
    """

    reason = "BACKEND_UNAVAILABLE"

    def __init__(
        self, message: str, retry_after: float = 1.0, pushback: float | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.pushback = pushback
        self.resource: str | None = None
        self.reasons: tuple[str, ...] = ()
        self.is_out_of_time = False


class Draining(ProcessorError):
    """The server is shutting down; another replica can go on at once."""

    reason = "DRAINING"
    retry_after = 0.0


class AccessChanged(ProcessorError):
    """The caller's grant, or the table, changed during the call; the call can begin again."""

    reason = "ACCESS_CHANGED"
    retry_after = 0.0


class DeadlineExceeded(ProcessorError):
    """The call's deadline passed with nothing to show."""

    reason = "DEADLINE_EXCEEDED"


class BackendRefused(Exception):
    """DynamoDB refused the request for a reason that is ours: credentials, or a plan it rejects.

    Deliberately no `ProcessorError`: the text is for the log, never for the caller.
    """


class RequestInvalid(BackendRefused):
    """DynamoDB found a planned request invalid, as it does when a table has other keys by now."""


class ConfigurationError(Exception):
    """A setting or a file is wrong; the text names the file, the field and the reason.

    `is_transient` says that the same may be right at another attempt.
    """

    is_transient = False
