"""Registers the metrics of a server, whose values are read when they are scraped."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from dynamodb_processor_server.config_files import Reloadable
from dynamodb_processor_server.rpc.client_bound_metrics import BoundMetrics
from dynamodb_processor_server.rpc.client_bounds import Bounds
from dynamodb_processor_server.rpc.page_cursors import PageTokens
from dynamodb_processor_server.rpc.services.health import Health
from dynamodb_processor_server.runtime.loop_lag import LoopLag
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.telemetry.backend import BackendMetrics
from dynamodb_processor_server.telemetry.cache import CacheMetrics
from dynamodb_processor_server.telemetry.config_files import ConfigFileMetrics
from dynamodb_processor_server.telemetry.labels import Labels
from dynamodb_processor_server.telemetry.logs import dropped_log_lines
from dynamodb_processor_server.telemetry.metrics import (
    CallbackCounter,
    LabelledCounter,
    register_gauge,
)
from dynamodb_processor_server.telemetry.process import ProcessMetrics
from dynamodb_processor_server.telemetry.streams import StreamMetrics
from dynamodb_processor_server.wiring.reading import ReadPath
from dynamodb_processor_server.wiring.tracing import Instrumentation


def new_registry() -> CollectorRegistry:
    """Return a registry that has the metrics of the process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def register_metrics(
    registry: CollectorRegistry,
    settings: Settings,
    path: ReadPath,
    health: Health,
    bounds: Bounds,
    tokens: PageTokens,
    lag: LoopLag,
    files: Mapping[str, Reloadable[Any, Any]],
    labels: Labels,
    instrumentation: Instrumentation,
) -> None:
    """Register the metrics of the read path, the bounds on clients, the process and the files.

    `files` has the files and secrets that are reloaded, by name. To be called on the event loop,
    whose tasks are counted.
    """
    admission = path.admission
    loop = asyncio.get_running_loop()
    BoundMetrics(registry, bounds)
    BackendMetrics(registry, path.backend, labels, instrumentation.backend_exemplars)
    CacheMetrics(registry, path.store, labels)
    ConfigFileMetrics(registry, files)
    StreamMetrics(registry, path.consumers, path.progress)
    ProcessMetrics(registry, lag, lambda: health.is_ready, _bounds(settings))
    text = "Page tokens that were refused, by reason."
    LabelledCounter(registry, "tokens_refused", text, "reason", lambda: tokens.refused)
    register_gauge(
        registry,
        "active_reads",
        "Reads running now, of max_concurrent_reads.",
        lambda: admission.active,
    )
    register_gauge(
        registry,
        "waiting_reads",
        "Reads waiting now, of admission_queue.",
        lambda: admission.waiting,
    )
    register_gauge(
        registry,
        "health_watches",
        "Open Watch calls, of max_health_watches.",
        lambda: health.watches,
    )
    register_gauge(
        registry, "tasks", "Tasks of the event loop.", lambda: len(asyncio.all_tasks(loop))
    )
    text = "Log lines that could not be written."
    CallbackCounter(registry, "log_lines_dropped", text, dropped_log_lines)


def _bounds(settings: Settings) -> dict[str, float]:
    """Return the settings that bound a gauge, by name."""
    return {
        "admission_queue": settings.admission_queue,
        "cache_max_bytes": settings.cache_max_bytes,
        "max_calls": settings.max_calls,
        "max_concurrent_reads": settings.max_concurrent_reads,
        "max_unsent_bytes": settings.max_unsent_bytes,
        "stream_max_lag": settings.stream_max_lag,
    }
