"""Chooses the parts that trace calls, if the settings ask for traces, and else the plain ones.

The choice is made once, at the start. Without tracing nothing here imports OpenTelemetry, and no
call meets a condition that asks whether it is traced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from prometheus_client import CollectorRegistry

from dynamodb_processor_server.cache.reader import CachingReader, cached_reader
from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.dynamodb.backend import Attempt
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook
from dynamodb_processor_server.rpc.interceptors.tracing import Tracing
from dynamodb_processor_server.rpc.planning import PlanningWork
from dynamodb_processor_server.rpc.prepared_queries import QueryPreparer
from dynamodb_processor_server.rpc.server import all_methods
from dynamodb_processor_server.rpc.traced_planning import TracedQueryPreparer
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.telemetry.exemplars import CallMetricsWithExemplars, Exemplars
from dynamodb_processor_server.telemetry.families import BucketExemplars
from dynamodb_processor_server.telemetry.labels import Labels
from dynamodb_processor_server.telemetry.logs import AccessLog, get_access_log
from dynamodb_processor_server.telemetry.metrics import CallMetrics, LabelledCounter


@dataclass(frozen=True, slots=True)
class Instrumentation:
    """The parts of a server that differ where calls are traced; the defaults trace nothing.

    Attributes:
        metrics: The metrics of calls.
        access_log: The log of calls.
        hooks: The hooks that give calls their spans.
        around_attempt: Wraps the function that makes an attempt at a request to DynamoDB.
        cached_reader: Makes the cache in front of a reader; see `cache.reader`.
        preparer: Makes the preparer of queries.
        backend_exemplars: Returns the exemplars of requests to DynamoDB, by table and bucket.
    """

    metrics: CallMetrics
    access_log: AccessLog
    hooks: tuple[CallHook, ...] = ()
    around_attempt: Callable[[Attempt], Attempt] = lambda attempt: attempt
    cached_reader: Callable[..., CachingReader] = cached_reader
    preparer: Callable[[Catalog, PlanningWork], QueryPreparer] = QueryPreparer
    backend_exemplars: Callable[[], Mapping[str, BucketExemplars]] = dict


def open_instrumentation(
    settings: Settings, registry: CollectorRegistry, labels: Labels, stack: AsyncExitStack
) -> Instrumentation:
    """Return the parts as the settings want them; `stack` sends the last spans when it is closed.

    To be called before the parts that serve calls enter the stack, so that spans are sent after
    the calls have ended.

    Raises ConfigurationError if traces cannot be sent in the way that the settings name.
    """
    methods = all_methods()
    if settings.tracing == "off":
        return Instrumentation(CallMetrics(registry, methods, labels), get_access_log())
    settings.check_otlp_variables()
    try:
        from dynamodb_processor_server.telemetry.tracing.access_log import TracedAccessLog
        from dynamodb_processor_server.telemetry.tracing.export import SpanExport
        from dynamodb_processor_server.telemetry.tracing.reads import traced_cached_reader
        from dynamodb_processor_server.telemetry.tracing.requests import traced_attempts
        from dynamodb_processor_server.telemetry.tracing.spans import Spans, recorded_ids
    except ImportError as error:
        raise ConfigurationError(
            f"tracing: the package of {error.name} is missing: "
            "pip install 'dynamodb-processor[server,tracing]'"
        ) from None
    export = SpanExport(
        settings.traces_url(), settings.tracing_sample_ratio, version("dynamodb-processor")
    )
    stack.push_async_callback(export.close)
    text = "Spans that were not sent, by reason."
    LabelledCounter(registry, "spans_dropped", text, "reason", export.dropped)
    spans, backend = Spans(export.tracer), Exemplars(recorded_ids)
    return Instrumentation(
        CallMetricsWithExemplars(registry, methods, labels, Exemplars(recorded_ids)),
        TracedAccessLog(get_access_log()),
        (Tracing(spans),),
        traced_attempts(spans, backend),
        partial(traced_cached_reader, spans),
        partial(TracedQueryPreparer, spans),
        backend.by_name,
    )
