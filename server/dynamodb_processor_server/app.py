"""Starts, reloads and stops a server and its parts, in their order."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import structlog

from dynamodb_processor_server.auth.unused_keys import log_keys_without_tables
from dynamodb_processor_server.catalog.config import CatalogConfig
from dynamodb_processor_server.rpc.client_bounds import Bounds
from dynamodb_processor_server.runtime.background import run_in_background
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.telemetry.logs import flush_access_log
from dynamodb_processor_server.telemetry.metrics_server import MetricsServer
from dynamodb_processor_server.wiring.cloudwatch import publish_to_cloudwatch
from dynamodb_processor_server.wiring.service import Service, build_service

_log = structlog.get_logger(__name__)

# Seconds that a start waits for the descriptions of the named tables.
_FIRST_DESCRIBE_SECONDS = 10.0
# Containers that are made, less those freed, between two garbage collections. A page of 100 items
# has 1,100 dictionaries while it is read: with Python's 700 each page would be searched.
_CONTAINERS_PER_COLLECTION = 10_000


class App:
    """A running server.

    Attributes:
        address: The address of gRPC.
        mtls_address: The address that requires client certificates, if it is another one.
        health_address: The address of health checks alone, empty if there is none.
        metrics_port: The port of the metrics, None if they are off.
    """

    def __init__(self, settings: Settings, service: Service) -> None:
        self.address = ""
        self.mtls_address = ""
        self.health_address = ""
        self.metrics_port: int | None = None
        self._settings = settings
        self._service = service
        self._is_draining = False
        self._was_ready = False

    @property
    def bounds(self) -> Bounds:
        """The bounds on the server's clients."""
        return self._service.bounds

    async def start(self) -> None:
        """Serve; the server is ready if every named table was described within ten seconds.

        Descriptions that take longer continue in the background: see `become_ready`.
        """
        self.address, *others = await self._service.server.start(self._service.endpoints)
        self.mtls_address = "".join(others)
        if self._service.health_server is not None:
            self.health_address = await self._service.health_server.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_DESCRIBE_SECONDS):
                await self._service.catalog.refresh()
        self._set_ready(not self._service.catalog.missing)
        gc.collect()
        gc.freeze()  # objects that live as long as the process need no further collections
        gc.set_threshold(_CONTAINERS_PER_COLLECTION)
        _log.info(
            "serving",
            address=self.address,
            tls=self._service.tls_identity is not None,
            mtls_address=self.mtls_address or None,
            health_address=self.health_address or None,
            metrics_port=self.metrics_port,
            cache_max_bytes=self._settings.cache_max_bytes,
        )

    async def become_ready(self) -> None:
        """Wait for the tables that were missing at start-up, then become ready.

        Only start-up waits: a table that is deleted later must not make all replicas unready.
        """
        if self._service.catalog.missing:
            _log.error("tables_missing", tables=self._service.catalog.missing)
        await self._service.catalog.complete.wait()
        if not self._is_draining:
            self._set_ready(True)

    def _set_ready(self, ready: bool) -> None:
        self._was_ready = self._was_ready or ready
        self._service.health.set_ready(ready)

    def reload(self) -> None:
        """Check the files now instead of after `reload_interval`."""
        _log.info("reload_requested")
        self._service.catalog_file.check_now()
        self._service.identity.check_now()
        for source in self._service.secrets.sources().values():
            source.check_now()
        if self._service.tls_identity is not None:
            self._service.tls_identity.check_now()

    async def drain(self) -> None:
        """End readiness, continue to serve for the drain delay, then let calls end.

        If the server was never ready, no load balancer has to notice, and there is no delay.
        """
        if not self.address:
            return
        _log.info("draining")
        self._is_draining = True
        self._service.health.set_ready(False)
        if self._was_ready:
            await asyncio.sleep(self._settings.drain_delay)
        self._service.draining.set()
        self._service.health.end_watches()
        await self._service.server.stop(self._settings.drain_grace)
        if self._service.health_server is not None:
            await self._service.health_server.stop()
        _log.info("drained")


@asynccontextmanager
async def open_app(settings: Settings) -> AsyncIterator[App]:
    """Run a server during the `async with`; it is drained at the end.

    Raises ConfigurationError for errors in the settings or the files they name.
    """
    async with AsyncExitStack() as stack:
        service = await build_service(settings, stack)
        app = App(settings, service)
        if settings.metrics_listen is not None:
            host, _, port = settings.metrics_listen.rpartition(":")
            served = MetricsServer(service.registry, host.strip("[]"), int(port))
            app.metrics_port = stack.enter_context(served).port
        publish_to_cloudwatch(settings, service.registry, stack)
        # Started first, so that it ends last: the cache serves pages until the server has drained.
        run_in_background(service.consumers.run(), stack)
        log_keys_without_tables(service.identity.keys_file.current, service.catalog_file.current)
        stack.callback(flush_access_log)
        stack.push_async_callback(app.drain)  # also when the start is cancelled
        await app.start()
        _keep_up_to_date(settings, service, stack)
        run_in_background(app.become_ready(), stack)
        yield app


def _keep_up_to_date(settings: Settings, service: Service, stack: AsyncExitStack) -> None:
    """Check files, schemas and connections at intervals, until `stack` is closed."""
    catalog, keys = service.catalog_file, service.identity.keys_file

    def adopt_catalog(config: CatalogConfig) -> None:
        service.catalog.replace(config)
        log_keys_without_tables(keys.current, config)

    interval = settings.reload_interval
    keys_interval = interval if settings.keys_secret is None else settings.secret_interval
    for work in (
        service.bounds.connections.watch(),
        service.loop_lag.watch(),
        service.catalog.refresh_periodically(settings.catalog_refresh),
        catalog.watch(adopt_catalog, every=interval),
        keys.watch(
            lambda ring: log_keys_without_tables(ring, catalog.current), every=keys_interval
        ),
        *service.identity.watches(interval),
        *service.secrets.watches(),
    ):
        run_in_background(work, stack)
    identity, expiry = service.tls_identity, service.certificate_expiry
    if identity is not None and expiry is not None:
        run_in_background(identity.watch(lambda _: None, every=interval), stack)
        run_in_background(expiry.watch(), stack)
