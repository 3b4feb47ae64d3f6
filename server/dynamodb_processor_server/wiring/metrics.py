"""Registers the metrics of a server, whose values are read when they are scraped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from dynamodb_processor_server.rpc.client_bound_metrics import BoundMetrics
from dynamodb_processor_server.rpc.client_bounds import Bounds
from dynamodb_processor_server.rpc.services.health import Health
from dynamodb_processor_server.telemetry.config_files import ConfigFileMetrics
from dynamodb_processor_server.telemetry.logs import dropped_log_lines
from dynamodb_processor_server.telemetry.metrics import (
    BackendMetrics,
    CallbackCounter,
    register_gauge,
)
from dynamodb_processor_server.telemetry.streams import StreamMetrics
from dynamodb_processor_server.wiring.reading import ReadPath


def new_registry() -> CollectorRegistry:
    """Return a registry that has the metrics of the process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def register_metrics(
    registry: CollectorRegistry,
    path: ReadPath,
    health: Health,
    bounds: Bounds,
    files_in_force: Mapping[str, Callable[[], bool]],
) -> None:
    """Register the metrics of the read path, the bounds on clients and the files.

    `files_in_force` returns, by name of a file, whether its last content is in use. To be called on
    the event loop, whose tasks are counted.
    """
    store, admission = path.store, path.admission
    loop = asyncio.get_running_loop()
    BoundMetrics(registry, bounds)
    BackendMetrics(registry, path.backend)
    ConfigFileMetrics(registry, files_in_force)
    StreamMetrics(registry, path.consumers)
    register_gauge(
        registry,
        "cached_bytes",
        "Size of the cached pages, of cache_max_bytes.",
        lambda: store.bytes_used,
    )
    register_gauge(registry, "cached_pages", "Number of cached pages.", lambda: len(store))
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
