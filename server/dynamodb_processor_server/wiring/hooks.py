"""Creates the hooks of every call in their order, and the bounds on clients."""

from __future__ import annotations

import time
from typing import Final

import structlog

from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.limits.call_rate import Limiter
from dynamodb_processor_server.limits.open_streams import OpenStreams
from dynamodb_processor_server.rpc.client_bounds import Bounds, BoundSettings
from dynamodb_processor_server.rpc.interceptors.access_log import AccessLogAndMetrics
from dynamodb_processor_server.rpc.interceptors.audit_log import AuditLog
from dynamodb_processor_server.rpc.interceptors.authentication import Authentication
from dynamodb_processor_server.rpc.interceptors.authorization import Authorization
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook
from dynamodb_processor_server.rpc.interceptors.grant_warnings import GrantWarnings
from dynamodb_processor_server.rpc.interceptors.rate_limit import (
    CallLimit,
    RateLimiting,
    StreamLimit,
)
from dynamodb_processor_server.rpc.interceptors.request_id import RequestIds
from dynamodb_processor_server.rpc.interceptors.slow_calls import SlowCallLog, StreamWaits
from dynamodb_processor_server.rpc.interceptors.unauthenticated import ExemptCallLimit
from dynamodb_processor_server.rpc.server import CACHE_SERVICE, CATALOG_SERVICE, QUERY_SERVICE
from dynamodb_processor_server.runtime.descriptors import connections_that_fit
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.wiring.identity import Identity
from dynamodb_processor_server.wiring.tracing import Instrumentation

_log = structlog.get_logger(__name__)

#: The role that each service needs. Calls of a service that needs the role `admin` are audited.
_ROLES: Final = {
    QUERY_SERVICE.full_name: "reader",
    CATALOG_SERVICE.full_name: "reader",
    CACHE_SERVICE.full_name: "admin",
}


def ordered_hooks(
    settings: Settings,
    instrumentation: Instrumentation,
    identity: Identity,
    catalog: Catalog,
    calls: Limiter,
    bounds: Bounds,
) -> tuple[CallHook, ...]:
    """Return the hooks in their order, outermost first."""
    streams = f"/{QUERY_SERVICE.full_name}/StreamQuery"
    open_reflection = settings.reflection == "open"
    return (
        RequestIds(),  # first, so that all others can name a call by its id
        *instrumentation.hooks,  # before the access log, whose lines name the trace
        AccessLogAndMetrics(  # so that refusals are counted and logged
            instrumentation.metrics,
            SlowCallLog(settings.slow_call_threshold),
            instrumentation.access_log,
        ),
        *((StreamWaits(streams),) if settings.slow_call_threshold else ()),
        AuditLog([service for service, role in _ROLES.items() if role == "admin"]),
        ExemptCallLimit(bounds.unauthenticated, open_reflection),
        Authentication(
            tuple(identity.authenticators()),
            time.time,
            open_reflection,
            bounds.unauthenticated.enter,
        ),
        *((GrantWarnings(identity.metrics.warnings),) if settings.grants == "warn" else ()),
        CallLimit(  # before the hooks that may wait
            bounds.under_way, settings.unary_deadline, bounds.connections.close, streams
        ),
        Authorization(_ROLES, catalog),
        RateLimiting(calls),
        StreamLimit(streams, OpenStreams(settings.max_streams)),
    )


def bound_settings(settings: Settings) -> BoundSettings:
    """Return the bounds on clients; the limit on open files may lower `max_connections`."""
    fitting = connections_that_fit(settings.max_connections, settings.other_connections())
    if fitting < settings.max_connections:
        _log.warning(
            "fewer_connections_than_set",
            max_connections=fitting,
            reason="the limit on open files is too low: raise it (ulimit -n)",
        )
    return BoundSettings(
        max_connections=fitting,
        max_calls_per_connection=settings.max_calls_per_connection,
        max_calls=settings.max_calls,
        max_unauthenticated_calls=settings.max_unauthenticated_calls,
        max_unsent_bytes=settings.max_unsent_bytes,
        max_page_bytes=settings.max_page_bytes,
        request_timeout=settings.request_timeout,
    )
