"""Builds the gRPC server and the objects that serve its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.catalog.config import CatalogConfig
from dynamodb_processor_server.change_streams.supervisor import ConsumerSupervisor
from dynamodb_processor_server.config_files import Reloadable, ReloadableFile
from dynamodb_processor_server.query.expression.parser import prepare_parser
from dynamodb_processor_server.query.freshness_token import FreshnessTokenCipher
from dynamodb_processor_server.query.page_token import PageTokenCipher
from dynamodb_processor_server.rpc.call_limits import CallBounds, CallLimits
from dynamodb_processor_server.rpc.client_bounds import Bounds
from dynamodb_processor_server.rpc.health_server import HealthServer
from dynamodb_processor_server.rpc.listening import Endpoint
from dynamodb_processor_server.rpc.page_cursors import (
    FreshnessTokens,
    PageTokens,
    ResumePointCache,
)
from dynamodb_processor_server.rpc.planning import PlanningWork
from dynamodb_processor_server.rpc.prepared_queries import QueryPreparer
from dynamodb_processor_server.rpc.server import (
    CACHE_SERVICE,
    CATALOG_SERVICE,
    QUERY_SERVICE,
    ConnectionSettings,
    RpcServer,
    Services,
)
from dynamodb_processor_server.rpc.services.cache import CacheServicer
from dynamodb_processor_server.rpc.services.cached_gets import CachedGets
from dynamodb_processor_server.rpc.services.catalog import CatalogServicer
from dynamodb_processor_server.rpc.services.health import Health
from dynamodb_processor_server.rpc.services.query import (
    QueryServicer,
    Readers,
)
from dynamodb_processor_server.rpc.table_calls import TableCalls
from dynamodb_processor_server.runtime.loop_lag import LoopLag
from dynamodb_processor_server.settings import HEALTH_CONNECTIONS, Settings
from dynamodb_processor_server.telemetry.certificates import CertificateExpiry
from dynamodb_processor_server.telemetry.labels import Labels
from dynamodb_processor_server.wiring.hooks import bound_settings, ordered_hooks
from dynamodb_processor_server.wiring.identity import Identity, open_identity
from dynamodb_processor_server.wiring.metrics import new_registry, register_metrics
from dynamodb_processor_server.wiring.reading import ReadPath, open_read_path
from dynamodb_processor_server.wiring.redis import Limits, share_limits
from dynamodb_processor_server.wiring.secrets import Secrets, open_secrets
from dynamodb_processor_server.wiring.tls import (
    ReloadableIdentity,
    endpoints_of,
    reloadable_identity,
)
from dynamodb_processor_server.wiring.tracing import open_instrumentation


@dataclass(frozen=True, slots=True)
class Service:
    """A gRPC server that has not started, and the parts to start, reload and end with it."""

    catalog_file: ReloadableFile[CatalogConfig]
    secrets: Secrets
    identity: Identity
    catalog: Catalog
    consumers: ConsumerSupervisor
    health: Health
    bounds: Bounds
    draining: asyncio.Event  # set when calls that may last long must end
    server: RpcServer
    endpoints: Sequence[Endpoint]  # of the server, that of `listen` first
    health_server: HealthServer | None
    tls_identity: ReloadableIdentity | None
    certificate_expiry: CertificateExpiry | None
    registry: CollectorRegistry
    loop_lag: LoopLag


async def build_service(settings: Settings, stack: AsyncExitStack) -> Service:
    """Return the service for `settings`; `stack` closes its resources.

    Raises ConfigurationError for errors in the settings or the files they name.
    """
    tls_identity = reloadable_identity(settings)
    declaration = ReloadableFile(
        settings.catalog, lambda file: file.parse(CatalogConfig, settings.catalog_context())
    )
    prepare_parser()
    secrets = await open_secrets(settings, stack)
    cipher = PageTokenCipher(secrets.token_keys.current, settings.token_lifetime)
    secrets.token_keys.follow(cipher.use)
    tokens = PageTokens(cipher, end_with_process=not settings.has_token_keys)
    freshness_cipher = FreshnessTokenCipher(secrets.token_keys.current)
    secrets.token_keys.follow(freshness_cipher.use)
    freshness = FreshnessTokens(
        freshness_cipher,
        settings.cache_clock_skew,
        end_with_process=not settings.has_token_keys,
    )
    registry = new_registry()
    labels, lag = Labels(), LoopLag()
    instrumentation = open_instrumentation(settings, registry, labels, stack)
    limits = share_limits(settings, secrets.redis_url, registry, labels, stack)
    identity = await open_identity(settings, secrets.opener, registry, labels)
    path = await open_read_path(
        settings, secrets, declaration.current, limits, instrumentation, registry, stack
    )
    draining = asyncio.Event()
    health = Health(
        [service.full_name for service in (QUERY_SERVICE, CATALOG_SERVICE, CACHE_SERVICE)],
        settings.max_health_watches,
    )
    thread = ThreadPoolExecutor(1, "planning")
    stack.callback(thread.shutdown, wait=False, cancel_futures=True)
    planning = PlanningWork(limits.planning, thread)
    bounds = Bounds(bound_settings(settings))
    hooks = ordered_hooks(settings, instrumentation, identity, path.catalog, limits.calls, bounds)
    preparer = instrumentation.preparer(path.catalog, planning)
    server = RpcServer(
        _services(settings, path, limits, preparer, tokens, freshness, health, draining),
        hooks,
        settings.reflection,
        settings.compression,
        planning,
        ConnectionSettings(
            settings.max_connection_age,
            # A shorter grace would break unary calls before their deadline.
            max(settings.max_connection_age_grace, settings.unary_deadline),
        ),
        bounds,
    )
    health_server = None
    if settings.health_listen is not None:
        health_server = HealthServer(
            settings.health_listen, health, hooks, bounds, HEALTH_CONNECTIONS
        )
    files: dict[str, Reloadable[Any, Any]] = {
        "catalog": declaration,
        "keys": identity.keys_file,
        **secrets.sources(),
    }
    if identity.identity_file is not None:
        files["identity"] = identity.identity_file
    certificate_expiry = None
    if tls_identity is not None:
        files["tls"] = tls_identity
        certificate_expiry = CertificateExpiry(registry, lambda: tls_identity.current)
    register_metrics(
        registry,
        settings,
        path,
        health,
        bounds,
        tokens,
        lag,
        files,
        labels,
        instrumentation,
    )
    return Service(
        declaration,
        secrets,
        identity,
        path.catalog,
        path.consumers,
        health,
        bounds,
        draining,
        server,
        endpoints_of(settings, tls_identity),
        health_server,
        tls_identity,
        certificate_expiry,
        registry,
        lag,
    )


def _services(
    settings: Settings,
    path: ReadPath,
    limits: Limits,
    preparer: QueryPreparer,
    tokens: PageTokens,
    freshness: FreshnessTokens,
    health: Health,
    draining: asyncio.Event,
) -> Services:
    query = QueryServicer(
        preparer,
        ResumePointCache(preparer, tokens),
        freshness,
        Readers(
            path.reader,
            path.reader,
            path.batches,
            CachedGets(
                preparer.catalog,
                path.items,
                freshness,
                settings.max_page_bytes,
                settings.max_item_bytes,
            ),
        ),
        CallLimits(
            limits.calls,
            limits.read_units,
            frozenset(
                name for name, limit in settings.rate_classes.items() if not limit.limits_reads
            ),
        ),
        CallBounds(
            settings.unary_deadline,
            settings.stream_deadline,
            settings.stream_interval,
            settings.max_page_bytes,
        ),
        draining,
    )
    calls = TableCalls(path.catalog, limits.calls)
    return Services(
        query,
        CatalogServicer(path.catalog, calls),
        CacheServicer(path.catalog, calls, path.invalidator, path.store),
        health,
        draining,
    )
