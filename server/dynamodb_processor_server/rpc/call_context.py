"""The state of one call, which interceptors and servicers share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import grpc

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.limits.calls_in_flight import Share
from dynamodb_processor_server.query.freshness_token import FreshnessBound
from dynamodb_processor_server.reader import NO_USAGE, Usage
from dynamodb_processor_server.rpc.prepared_queries import PreparedQuery
from dynamodb_processor_server.rpc.table_access import TableAccess
from dynamodb_processor_server.telemetry.logs import logged_call

if TYPE_CHECKING:  # a server without tracing does not import OpenTelemetry
    from opentelemetry.trace import Span

Metadata = tuple[tuple[str, str | bytes], ...]


class MessageWaits:
    """The longest time for which the caller of a stream waited for a message, in seconds.

    `since` is when the present wait began, None while gRPC writes a message to the caller.
    """

    __slots__ = ("longest", "since")

    def __init__(self, since: float) -> None:
        self.longest = 0.0
        self.since: float | None = since

    def end(self, now: float) -> None:
        """Note the end of a wait, if there is one."""
        if self.since is not None:
            self.longest = max(self.longest, now - self.since)
            self.since = None


@dataclass(slots=True, eq=False)
class Call:
    """The state of a call, filled in while the call passes the hooks and the servicer.

    Attributes:
        started: Seconds of the monotonic clock.
        context: gRPC's context, set when the handler runs.
        started_hooks: The number of hooks that let the call start, from the outermost on.
        unsent: Bytes of the response that gRPC has been given and has not sent. They are counted in
            the `share` of the principal.
        message_waits: The waits of a stream's caller; not set where nothing logs them.
        principal: The caller, as `authenticator` found it in the version `credentials`.
        authorized: The principal whose role and access were checked.
        access: The access under which the call reads, once it is known.
        bound: The bound on the freshness of its answer, None where the caller set none.
        prepared: The query of the call and its plan; not set where none is read, as at a cache hit.
        arguments: The arguments of an administrative call that are no data; not set for others.
        code: The status, set when the call has ended.

    The attributes from `table` on are for the access log and the metrics.
    """

    method: str
    started: float
    metadata: Metadata = ()
    context: grpc.aio.ServicerContext[Any, Any] = field(init=False, repr=False)
    started_hooks: int = 0
    request_id: str = ""
    unsent: int = 0
    share: Share = field(init=False, repr=False)
    message_waits: MessageWaits = field(init=False, repr=False)
    #: The span of the call, set where calls are traced.
    span: Span = field(init=False, repr=False)
    principal: Principal | None = None
    #: The same as `principal`, for code that runs after authentication, where it is always set.
    caller: Principal = field(init=False, repr=False)
    authenticator: Any = None
    credentials: object = None
    authorized: Principal | None = None
    access: TableAccess | None = None
    bound: FreshnessBound | None = None
    prepared: PreparedQuery = field(init=False, repr=False)
    arguments: Mapping[str, str] = field(init=False, repr=False)
    table: str = ""
    cache: str = ""
    items: int = 0
    messages: int = 0
    usage: Usage = NO_USAGE
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""
    trailing: Metadata = ()

    def metadata_value(self, name: str) -> str | None:
        """Return the first text value of a metadata key, None when there is none."""
        for key, value in self.metadata:
            if key == name and isinstance(value, str):
                return value
        return None

    def authenticated(self, principal: Principal, authenticator: Any, credentials: object) -> None:
        """Record the caller, and the authenticator that found it in a version `credentials`."""
        self.principal = self.caller = principal
        self.authenticator = authenticator
        self.credentials = credentials


# The variable of the log, so that a call sets one and not two.
_current: Final = cast("ContextVar[Call]", logged_call)

# Methods of the variable itself: a function around each would take longer than they do.
#: Returns the call that the running handler serves.
current_call: Final[Callable[[], Call]] = _current.get
#: Returns the call of this task, None where there is none.
entered_call: Final[Callable[[], Call | None]] = partial(_current.get, None)
#: Makes a call the current one of this task.
enter_call: Final[Callable[[Call], object]] = _current.set


def current_caller() -> str:
    """Return the name of the current call's principal, empty where there is none."""
    call = entered_call()
    return "" if call is None or call.principal is None else call.principal.name


def as_metadata(pairs: Iterable[tuple[str, str | bytes]] | None) -> Metadata:
    """Return gRPC's metadata as a tuple."""
    return tuple(pairs or ())
