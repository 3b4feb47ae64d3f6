"""Creates the objects that replicas share through Redis: cache, leases and limits."""

from __future__ import annotations

import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.invalidator import (
    Invalidator,
    LocalInvalidator,
    SharedInvalidator,
)
from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.invalidation_log import InvalidationLogFollower
from dynamodb_processor_server.cache.redis.progress_publisher import ProgressPublisher
from dynamodb_processor_server.cache.redis.shared_cache import SharedPageCache
from dynamodb_processor_server.cache.redis.shared_items import SharedItemCache
from dynamodb_processor_server.cache.redis.store import RedisStore
from dynamodb_processor_server.cache.table_progress import TableProgress
from dynamodb_processor_server.change_streams.redis_leases import RedisLeases
from dynamodb_processor_server.limits.call_rate import CallRateLimits, Limiter
from dynamodb_processor_server.limits.planning_time import PlanningTimeLimits
from dynamodb_processor_server.limits.read_units import ReadUnitLimits
from dynamodb_processor_server.limits.redis.call_rate import SharedCallRateLimits
from dynamodb_processor_server.limits.redis.port import LIMIT_STORE_BREAKER
from dynamodb_processor_server.limits.redis.read_units import SharedBuckets
from dynamodb_processor_server.limits.redis.store import RedisLimitStore
from dynamodb_processor_server.runtime.background import run_in_background
from dynamodb_processor_server.runtime.circuit_breaker import BreakerSettings, CircuitBreaker
from dynamodb_processor_server.runtime.guarded_store import GuardedStore
from dynamodb_processor_server.runtime.redis_log import RedisLog
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.telemetry.labels import Labels
from dynamodb_processor_server.telemetry.limits import LimitMetrics, SharedLimitMetrics
from dynamodb_processor_server.telemetry.shared_cache import SharedCacheMetrics
from dynamodb_processor_server.wiring.secrets import Secret, Secrets


@dataclass(frozen=True, slots=True)
class SharedCaches:
    """The caches that replicas share, None without Redis, and the invalidator."""

    pages: SharedPageCache | None
    items: SharedItemCache | None
    invalidator: Invalidator

    def received(self) -> int:
        """Return the number of invalidations by other replicas that have arrived here."""
        return 0 if self.pages is None else self.pages.invalidation_log.received


def share_caches(
    settings: Settings,
    secrets: Secrets,
    generations: Generations,
    progress: TableProgress,
    registry: CollectorRegistry,
    stack: AsyncExitStack,
) -> SharedCaches:
    """Return the shared caches and the invalidator.

    With Redis, `progress` receives the claims of other replicas, and its own are sent to them.
    """
    if secrets.redis_url is None:
        return SharedCaches(None, None, LocalInvalidator(generations))
    timeout = settings.redis_timeout
    bounds = (settings.max_page_bytes, settings.max_item_bytes)
    cipher = PageCipher(
        secrets.token_keys.current, page_bounds=bounds, clock_skew=settings.cache_clock_skew
    )
    secrets.token_keys.follow(cipher.use)
    store = RedisStore(
        secrets.redis_url.current,
        timeout,
        settings.redis_prefix,
        settings.quarantine().longest,
    )
    secrets.redis_url.follow(store.use)
    log = InvalidationLogFollower(store, cipher, generations, timeout, progress=progress)
    breaker = CircuitBreaker(BreakerSettings(), time.monotonic, random.random)
    guard = GuardedStore(breaker, timeout)
    shared = SharedPageCache(store, cipher, log, guard, settings.redis_unavailable)
    stack.push_async_callback(shared.close)
    invalidator = SharedInvalidator(generations, store, cipher, timeout)
    SharedCacheMetrics(registry, shared, invalidator)
    run_in_background(log.follow(), stack)
    publisher = ProgressPublisher(progress, store, cipher, log, guard)
    run_in_background(publisher.run(), stack)
    items = SharedItemCache(store.items, cipher, shared, generations, timeout)
    return SharedCaches(shared, items, invalidator)


def share_leases(
    settings: Settings, url: Secret[str] | None, stack: AsyncExitStack
) -> RedisLeases | None:
    """Return the leases by which replicas elect stream consumers, None without Redis."""
    if url is None:
        return None
    leases = RedisLeases(url.current, settings.redis_timeout, settings.redis_prefix)
    url.follow(leases.use)
    stack.push_async_callback(leases.close)
    return leases


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits on the rates of principals."""

    calls: Limiter
    read_units: ReadUnitLimits
    planning: PlanningTimeLimits


def share_limits(
    settings: Settings,
    url: Secret[str] | None,
    registry: CollectorRegistry,
    labels: Labels,
    stack: AsyncExitStack,
) -> Limits:
    """Return the limits, shared by all replicas or of this replica alone."""
    classes = settings.rate_classes
    calls, planning = CallRateLimits(classes), PlanningTimeLimits(classes)
    if url is None or settings.rate_limit_store == "memory":
        limits = Limits(calls, ReadUnitLimits(classes), planning)
    else:
        store = RedisLimitStore(url.current, settings.redis_timeout, settings.redis_prefix)
        url.follow(store.use)
        stack.push_async_callback(store.close)
        breaker = CircuitBreaker(LIMIT_STORE_BREAKER, time.monotonic, random.random)
        guard = GuardedStore(breaker, settings.redis_timeout, RedisLog("shared_limits"))
        shared = SharedCallRateLimits(calls, store, guard)
        buckets = SharedBuckets(store, guard, time.monotonic)
        stack.push_async_callback(shared.flush)
        stack.push_async_callback(buckets.flush)
        SharedLimitMetrics(registry, guard)
        limits = Limits(shared, ReadUnitLimits(classes, buckets.open), planning)
    LimitMetrics(registry, calls, limits.read_units, planning, labels)
    return limits
