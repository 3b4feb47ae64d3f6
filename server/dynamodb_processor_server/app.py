"""The composition root: knows every concrete class, and the order in which they live and die."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from dynamodb_processor_server.access.admission import Admission
from dynamodb_processor_server.access.api_keys import KeyRing
from dynamodb_processor_server.access.open_streams import OpenStreams
from dynamodb_processor_server.access.rate_limits import Limiter
from dynamodb_processor_server.access.read_units import ReadUnitLimits
from dynamodb_processor_server.access.unused_keys import log_keys_without_tables
from dynamodb_processor_server.background import run_in_background
from dynamodb_processor_server.caching.generations import Generations
from dynamodb_processor_server.caching.pages import PageStore
from dynamodb_processor_server.caching.streams.dynamodb import DynamoDBStreams
from dynamodb_processor_server.caching.streams.followers import Followers
from dynamodb_processor_server.caching.streams.moves import GenerationMoves
from dynamodb_processor_server.catalog.declaration import CatalogDeclaration
from dynamodb_processor_server.catalog.registry import Catalog
from dynamodb_processor_server.descriptors import connections_that_fit
from dynamodb_processor_server.documents import Reloading
from dynamodb_processor_server.query.parser import prepare_parser
from dynamodb_processor_server.query.tokens import TokenSealer
from dynamodb_processor_server.reading.admitted import (
    Admittance,
    AdmittedItemReader,
    AdmittedReader,
)
from dynamodb_processor_server.reading.backend import Backend, Meter
from dynamodb_processor_server.reading.batches import DynamoDBItemReader
from dynamodb_processor_server.reading.bounded_batches import BoundedBatches
from dynamodb_processor_server.reading.cached import CachedReader
from dynamodb_processor_server.reading.clients import Clients
from dynamodb_processor_server.reading.describing import DynamoDBDescriber
from dynamodb_processor_server.reading.dynamodb import DynamoDBReader
from dynamodb_processor_server.rpc.bounds import Bounds, BoundSettings
from dynamodb_processor_server.rpc.cache_servicer import CacheServicer
from dynamodb_processor_server.rpc.call import current_call, current_caller, current_claim
from dynamodb_processor_server.rpc.catalog_servicer import CatalogServicer
from dynamodb_processor_server.rpc.health import Health
from dynamodb_processor_server.rpc.interceptors.adapter import CallHook
from dynamodb_processor_server.rpc.interceptors.authentication import Authentication
from dynamodb_processor_server.rpc.interceptors.authorization import Authorization
from dynamodb_processor_server.rpc.interceptors.observation import Observation
from dynamodb_processor_server.rpc.interceptors.protection import (
    CallBounding,
    RateLimiting,
    StreamBounding,
)
from dynamodb_processor_server.rpc.interceptors.request_id import RequestIds
from dynamodb_processor_server.rpc.interceptors.unauthenticated import ExemptCallBounding
from dynamodb_processor_server.rpc.openings import Openings, Tokens
from dynamodb_processor_server.rpc.planning import CallersEvaluation, PlanningWork
from dynamodb_processor_server.rpc.preparation import Preparation
from dynamodb_processor_server.rpc.query_servicer import Deadlines, QueryServicer
from dynamodb_processor_server.rpc.server import (
    CACHE_SERVICE,
    CATALOG_SERVICE,
    QUERY_SERVICE,
    ConnectionSettings,
    RpcServer,
    Services,
)
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.sharing import share_leases, share_limits, share_pages
from dynamodb_processor_server.telemetry.bounds import BoundMetrics, DocumentMetrics
from dynamodb_processor_server.telemetry.logs import dropped_log_lines, flush_access_log
from dynamodb_processor_server.telemetry.metrics import (
    BackendMetrics,
    CallMetrics,
    WatchedCounter,
    watch,
)
from dynamodb_processor_server.telemetry.metrics_server import MetricsServer
from dynamodb_processor_server.telemetry.streams import StreamMetrics

_log = structlog.get_logger(__name__)

_FIRST_LOOK_SECONDS = 10.0  # at the named tables, before a server says that it serves


class App:
    """A running server: gRPC at `address`, metrics at `metrics_port` if at all.

    `bounds` is what it holds its clients to.
    """

    def __init__(
        self,
        settings: Settings,
        server: RpcServer,
        health: Health,
        catalog: Catalog,
        draining: asyncio.Event,
        bounds: Bounds,
        looks: Sequence[Callable[[], None]],
    ) -> None:
        self.address = ""
        self.bounds = bounds
        self.metrics_port: int | None = None
        self._settings = settings
        self._server = server
        self._health = health
        self._catalog = catalog
        self._draining = draining
        self._leaving = False
        self._was_ready = False
        self._looks = looks

    async def start(self) -> None:
        """Serve; calls are welcome if every named table could be described within ten seconds.

        What takes longer goes on in the background: see `become_ready`.
        """
        self.address = await self._server.start(self._settings.listen)
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LOOK_SECONDS):
                await self._catalog.refresh()
        self._set_ready(not self._catalog.missing)
        gc.collect()
        gc.freeze()  # what lives as long as the process need not be looked at again and again
        _log.info("serving", address=self.address, metrics_port=self.metrics_port)

    async def become_ready(self) -> None:
        """Wait for the tables that were missing at start-up, then welcome calls.

        Only start-up waits: a table that is deleted later must not take the fleet down.
        """
        if self._catalog.missing:
            _log.error("tables_missing", tables=self._catalog.missing)
        await self._catalog.complete.wait()
        if not self._leaving:
            self._set_ready(True)

    def _set_ready(self, ready: bool) -> None:
        self._was_ready = self._was_ready or ready
        self._health.set_ready(ready)

    def reload(self) -> None:
        """Look at the two files now, and not only when their time has come."""
        _log.info("reload_asked_for")
        for look_now in self._looks:
            look_now()

    async def drain(self) -> None:
        """End readiness, serve on for the drain delay, then let calls end.

        Nobody has to hear of the end of a readiness that never was: then there is no delay.
        """
        if not self.address:
            return
        _log.info("draining")
        self._leaving = True
        self._health.set_ready(False)
        if self._was_ready:
            await asyncio.sleep(self._settings.drain_delay)
        self._draining.set()
        self._health.end_watches()
        await self._server.stop(self._settings.drain_grace)
        _log.info("drained")


@asynccontextmanager
async def open_app(settings: Settings) -> AsyncIterator[App]:
    """Start a server for the time of the `async with`; it is drained at the end.

    Raises ConfigurationError for mistakes in the settings or the files they name.
    """
    async with AsyncExitStack() as stack:
        yield await _compose(settings, stack)


async def _compose(settings: Settings, stack: AsyncExitStack) -> App:
    declaration = Reloading(
        settings.catalog, lambda file: file.parse(CatalogDeclaration, settings.catalog_context())
    )
    keys = Reloading(settings.keys, lambda file: KeyRing.build(file, settings.rate_classes))
    prepare_parser()
    sealer = TokenSealer(settings.token_key_ring(), settings.token_lifetime)
    registry = _registry()
    metrics = CallMetrics(registry)
    limits = share_limits(settings, registry, stack)
    clients = await stack.enter_async_context(Clients(settings.client_settings()))
    meter = _meter(metrics, limits.read_units)
    backend = Backend(clients, settings.backend_settings(), meter)
    catalog = Catalog(
        declaration.current,
        DynamoDBDescriber(backend),
        settings.unary_deadline,
        asker=current_caller,
    )
    store = PageStore(settings.cache_max_bytes, time.time)
    generations = Generations()
    admission = Admission(settings.max_concurrent_reads, settings.admission_queue)
    admittance = Admittance(admission, current_claim)
    shared, invalidator = share_pages(settings, generations, registry, stack)
    reader = CachedReader(
        AdmittedReader(
            DynamoDBReader(
                backend,
                settings.max_page_bytes,
                max_item_bytes=settings.max_item_bytes,
                evaluation=CallersEvaluation(limits.planning),
            ),
            admittance,
        ),
        store,
        generations,
        settings.shared_read_timeout,
        settings.quarantine(),
        shared,
    )
    stack.push_async_callback(reader.close)
    streams = await stack.enter_async_context(DynamoDBStreams(settings.stream_client_settings()))
    moves = GenerationMoves(invalidator)
    leases = share_leases(settings, stack)
    followers = Followers(catalog, streams, moves, settings.stream_pace(), leases=leases)
    draining = asyncio.Event()
    health = Health(
        [service.full_name for service in (QUERY_SERVICE, CATALOG_SERVICE, CACHE_SERVICE)],
        settings.max_health_watches,
    )
    thread = ThreadPoolExecutor(1, "planning")
    stack.callback(thread.shutdown, wait=False, cancel_futures=True)
    planning = PlanningWork(limits.planning, thread)
    preparation = Preparation(catalog, planning)
    tokens = Tokens(sealer, end_with_process=settings.token_keys is None)
    services = Services(
        QueryServicer(
            preparation,
            Openings(preparation, tokens),
            tokens,
            reader,
            BoundedBatches(
                AdmittedItemReader(DynamoDBItemReader(backend), admittance),
                settings.max_page_bytes,
                settings.max_item_bytes,
            ),
            limits.calls,
            limits.read_units,
            Deadlines(settings.unary_deadline, settings.stream_deadline, settings.stream_interval),
            settings.max_page_bytes,
            draining,
        ),
        CatalogServicer(catalog, limits.calls),
        CacheServicer(catalog, limits.calls, invalidator, store),
        health,
        draining,
    )
    bounds = Bounds(_bound_settings(settings))
    BoundMetrics(registry, bounds)
    server = RpcServer(
        services,
        _hooks(settings, metrics, keys, catalog, limits.calls, bounds),
        settings.reflection,
        settings.compression,
        planning,
        ConnectionSettings(settings.max_connection_age, settings.max_connection_age_grace),
        bounds,
    )
    looks = (declaration.look_now, keys.look_now)
    app = App(settings, server, health, catalog, draining, bounds, looks)
    BackendMetrics(registry, backend)
    DocumentMetrics(
        registry, {"catalog": lambda: declaration.in_step, "keys": lambda: keys.in_step}
    )
    watch(registry, "cached_bytes", "Bytes of cached pages.", lambda: store.bytes_used)
    watch(registry, "cached_pages", "Cached pages.", lambda: len(store))
    watch(registry, "active_reads", "Places taken in admission.", lambda: admission.active)
    watch(registry, "waiting_reads", "Reads waiting for a place.", lambda: admission.waiting)
    watch(registry, "health_watches", "Open Watch calls.", lambda: health.watches)
    text = "Log lines that could not be written."
    WatchedCounter(registry, "log_lines_dropped", text, dropped_log_lines)
    loop = asyncio.get_running_loop()
    watch(registry, "tasks", "Tasks of the event loop.", lambda: len(asyncio.all_tasks(loop)))
    StreamMetrics(registry, followers)
    if settings.metrics_listen is not None:
        host, _, port = settings.metrics_listen.rpartition(":")
        scraped = stack.enter_context(MetricsServer(registry, host.strip("[]"), int(port)))
        app.metrics_port = scraped.port
    # First, so that it ends last: pages are served from the cache until the server has drained.
    run_in_background(followers.follow(), stack)
    log_keys_without_tables(keys.current, declaration.current)

    def adopt_catalog(declared: CatalogDeclaration) -> None:
        catalog.replace(declared)
        log_keys_without_tables(keys.current, declared)

    stack.callback(flush_access_log)
    stack.push_async_callback(app.drain)  # also when the start is broken off
    await app.start()
    interval = settings.reload_interval
    for work in (
        bounds.connections.watch(),
        app.become_ready(),
        catalog.follow(settings.catalog_refresh),
        declaration.watch(adopt_catalog, every=interval),
        keys.watch(lambda ring: log_keys_without_tables(ring, declaration.current), every=interval),
    ):
        run_in_background(work, stack)
    return app


def _meter(metrics: CallMetrics, read_units: ReadUnitLimits) -> Meter:
    """Return what charges each answer of DynamoDB to whose call asked for it.

    A task that reads for several callers goes on with the call that began it.
    """

    def charge(table: str, units: float) -> None:
        caller = current_call().caller
        read_units.charge(caller, table, units)
        metrics.consumed(table, caller.name, units)

    return charge


def _bound_settings(settings: Settings) -> BoundSettings:
    """Return what bounds clients, as far as there are descriptors for their connections."""
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
        answer_timeout=settings.unary_deadline,
    )


def _hooks(
    settings: Settings,
    metrics: CallMetrics,
    keys: Reloading[KeyRing],
    catalog: Catalog,
    calls: Limiter,
    bounds: Bounds,
) -> tuple[CallHook, ...]:
    """Return the hooks in their order, outermost first."""
    streams = f"/{QUERY_SERVICE.full_name}/StreamQuery"
    open_reflection = settings.reflection == "open"
    return (
        RequestIds(),  # so that all below speak of a call by its id
        Observation(metrics),  # so that refusals are counted and logged
        ExemptCallBounding(bounds.unauthenticated, open_reflection),
        Authentication(
            lambda: keys.current, time.time, open_reflection, bounds.unauthenticated.enter
        ),
        CallBounding(  # before all that may wait
            bounds.under_way, settings.unary_deadline, bounds.connections.close, streams
        ),
        Authorization(
            {
                QUERY_SERVICE.full_name: "reader",
                CATALOG_SERVICE.full_name: "reader",
                CACHE_SERVICE.full_name: "admin",
            },
            catalog,
        ),
        RateLimiting(calls),
        StreamBounding(streams, OpenStreams(settings.max_streams)),
    )


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
