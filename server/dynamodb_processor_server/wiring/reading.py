"""Builds the read path: the readers from the cache to DynamoDB, and stream consumers."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.invalidator import Invalidator
from dynamodb_processor_server.cache.item_cache import ItemCache
from dynamodb_processor_server.cache.item_reader import CachingItemReader
from dynamodb_processor_server.cache.item_refresh import ItemRefresh
from dynamodb_processor_server.cache.item_sharing import ItemSharing
from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.cache.reader import CachingReader
from dynamodb_processor_server.cache.table_progress import TableProgress
from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.catalog.config import CatalogConfig
from dynamodb_processor_server.change_streams.invalidation_sink import InvalidationSink
from dynamodb_processor_server.change_streams.supervisor import ConsumerSupervisor
from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.bounded_batches import BoundedBatches
from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.dynamodb.item_decoding import decode_item
from dynamodb_processor_server.dynamodb.item_encoding import exact_message
from dynamodb_processor_server.dynamodb.item_reader import DynamoDBItemReader
from dynamodb_processor_server.dynamodb.reader import DynamoDBReader
from dynamodb_processor_server.dynamodb.streams import STREAMS, DynamoDBStreams
from dynamodb_processor_server.dynamodb.table_describer import TableDescriber
from dynamodb_processor_server.limits.admission import (
    Admission,
    AdmissionItemReader,
    AdmissionReader,
)
from dynamodb_processor_server.rpc.call_context import current_caller
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.wiring.redis import Limits, share_caches, share_leases
from dynamodb_processor_server.wiring.secrets import Secrets
from dynamodb_processor_server.wiring.tracing import Instrumentation


@dataclass(frozen=True, slots=True)
class ReadPath:
    """The parts that read DynamoDB, and cache pages and items until data changes."""

    backend: Backend
    catalog: Catalog
    store: PageStore
    admission: Admission
    invalidator: Invalidator
    reader: CachingReader
    batches: BoundedBatches
    items: ItemCache
    consumers: ConsumerSupervisor
    progress: TableProgress


async def open_read_path(
    settings: Settings,
    secrets: Secrets,
    declaration: CatalogConfig,
    limits: Limits,
    instrumentation: Instrumentation,
    registry: CollectorRegistry,
    stack: AsyncExitStack,
) -> ReadPath:
    """Return the read path, which is closed with `stack`."""
    clients = await stack.enter_async_context(Clients(settings.client_settings()))
    charge = (limits.read_units.charge,) if limits.read_units.is_limited else ()
    meters = (*charge, instrumentation.metrics.consumed)
    backend = Backend(
        clients, settings.backend_settings(), meters, around=instrumentation.around_attempt
    )
    catalog = Catalog(
        declaration,
        TableDescriber(backend),
        settings.unary_deadline,
        current_principal=current_caller,
    )
    store = PageStore(settings.cache_max_bytes, time.time)
    generations = Generations()
    progress = TableProgress(settings.cache_clock_skew)
    admission = Admission(settings.max_concurrent_reads, settings.admission_queue)
    shared = share_caches(settings, secrets, generations, progress, registry, stack)
    item_cache = ItemCache(
        store,
        generations,
        exact_message,
        decode_item,
        settings.quarantine(),
        shared.pages,
        clock_skew=settings.cache_clock_skew,
        followed_until=lambda table: progress.until(table, table.schema.base),
    )
    sharing = None if shared.items is None else ItemSharing(shared.items, item_cache)
    # A page is admitted before its items are got, so they share reads with those of pages only.
    hydrated = CachingItemReader(
        DynamoDBItemReader(backend), item_cache, settings.coalescing_timeout, sharing=sharing
    )
    stack.push_async_callback(hydrated.close)
    pages = DynamoDBReader(
        backend,
        settings.max_page_bytes,
        max_item_bytes=settings.max_item_bytes,
        planning=limits.planning,
        cached_items=hydrated,
    )
    reader = instrumentation.cached_reader(
        AdmissionReader(pages, admission),
        store,
        generations,
        settings.shared_read_timeout,
        settings.quarantine(),
        shared.pages,
        coalescing_timeout=settings.coalescing_timeout,
        followed_until=lambda plan: progress.until(plan.table, plan.path),
    )
    stack.push_async_callback(reader.close)
    items = CachingItemReader(
        AdmissionItemReader(DynamoDBItemReader(backend), admission),
        item_cache,
        settings.coalescing_timeout,
        sharing=sharing,
    )
    stack.push_async_callback(items.close)
    batches = BoundedBatches(items, settings.max_page_bytes, settings.max_item_bytes, cached=items)
    stream_clients = await stack.enter_async_context(
        Clients(settings.stream_client_settings(), STREAMS)
    )
    leases = share_leases(settings, secrets.redis_url, stack)
    consumers = ConsumerSupervisor(
        catalog,
        DynamoDBStreams(stream_clients),
        InvalidationSink(
            shared.invalidator, ItemRefresh(item_cache), progress, sharing, shared.received
        ),
        settings.stream_pace(),
        leases=leases,
    )
    return ReadPath(
        backend,
        catalog,
        store,
        admission,
        shared.invalidator,
        reader,
        batches,
        item_cache,
        consumers,
        progress,
    )
