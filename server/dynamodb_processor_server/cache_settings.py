"""Settings of the cache: its size, Redis shared by replicas, invalidation from streams."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from dynamodb_processor_server.cache.coalescing import DEFAULT_COALESCING_TIMEOUT
from dynamodb_processor_server.cache.quarantine import Quarantine
from dynamodb_processor_server.config_files import duration
from dynamodb_processor_server.runtime.redis_url import RedisTls
from dynamodb_processor_server.runtime.timing import PollSettings
from dynamodb_processor_server.setting_types import (
    MEBIBYTE,
    BytesOrShare,
    OptionalPath,
    OptionalUrl,
    Seconds,
)

_Quarantine = Annotated[float, duration(0, 3_600)]


class CacheSettings(BaseModel):
    """How pages are cached and invalidated. Durations are in seconds, sizes in bytes."""

    cache_max_bytes: BytesOrShare = Field(
        256 * MEBIBYTE,
        ge=0,
        description="Maximum bytes of pages and items that this replica caches; 0 caches none. "
        "`25%` is a quarter of the memory limit of the process's cgroup, or of the machine's "
        "memory if there is no lower limit; it is read at the start.",
    )
    cache_quarantine: _Quarantine = Field(
        2.0,
        description="Seconds after an invalidation during which reads use `ConsistentRead`, or are "
        "not cached where DynamoDB does not offer it. An eventually consistent read may still "
        "return the old value. 0 to 3,600.",
    )
    cache_index_quarantine: _Quarantine = Field(
        10.0,
        description="Seconds of that quarantine for reads of global indexes, which are not cached "
        "during it. 0 to 3,600.",
    )
    cache_clock_skew: Annotated[float, duration(0, 60)] = Field(
        0.5,
        description="Seconds by which the clocks of replicas, and of callers that send "
        "`cache.not_before`, may differ; 0 to 60. Pages that are older by less than that count as "
        "too old.",
    )
    shared_read_timeout: Seconds = Field(
        30.0, description="Timeout in seconds for one read that several callers share."
    )
    coalescing_timeout: Annotated[float, duration(0, 60, above=True)] = Field(
        DEFAULT_COALESCING_TIMEOUT,
        description="Seconds that a call waits for the read of the same page by another call; then "
        "it reads the page itself. More than 0, at most 60.",
    )
    redis_prefix: str = Field(
        "dynamodb-processor:",
        min_length=1,
        max_length=100,
        description="Prefix of every key in Redis; each fleet needs its own. A cluster needs "
        "one in braces, such as `{fleet}:`.",
    )
    redis_tls_ca: OptionalPath = Field(
        None,
        description="Path of the CA certificates, in PEM, that verify the certificate of Redis; "
        "absent: those of the system. A new connection reads it again.",
    )
    redis_tls_certificate: OptionalPath = Field(
        None,
        description="Path of the client certificate for Redis, in PEM; it needs `redis_tls_key`.",
    )
    redis_tls_key: OptionalPath = Field(
        None, description="Path of the private key of that certificate, in PEM."
    )
    redis_timeout: Annotated[float, duration(0, 1, above=True)] = Field(
        0.1,
        description="Timeout in seconds for one Redis command, at most 1; after it the replica "
        "continues without Redis.",
    )
    redis_unavailable: Literal["bypass", "serve_until_ttl"] = Field(
        "bypass",
        description="Use of cached pages while Redis delivers no invalidations: `bypass` reads "
        "from DynamoDB, `serve_until_ttl` serves cached pages until they expire.",
    )
    single_replica: bool = Field(
        False,
        description="Whether this is the only replica: it may then follow table streams without "
        "`redis_url`.",
    )
    streams_endpoint_url: OptionalUrl = Field(
        None,
        description="URL of a DynamoDB Streams endpoint; absent: `endpoint_url`, or AWS's.",
    )
    stream_poll_interval: Annotated[float, duration(0.2, 2)] = Field(
        0.5,
        description="Seconds between two reads of one shard of a table's stream, 0.2 to 2.",
    )
    stream_max_lag: Annotated[float, duration(5, 3_600)] = Field(
        10.0,
        description="Seconds that the processing of a stream may be behind before the whole table "
        "is invalidated, 5 to 3,600.",
    )
    stream_delay: Annotated[float, duration(0, 60)] = Field(
        2.0,
        description="Seconds after a write within which DynamoDB is assumed to show its record in "
        "the table's stream, 0 to 60. DynamoDB states no bound. A cached page that is older than a "
        "caller's `not_before` is served only when the stream has been read this much later.",
    )

    def quarantine(self) -> Quarantine:
        """Return the seconds after an invalidation during which eventual reads are not cached."""
        return Quarantine(self.cache_quarantine, self.cache_index_quarantine)

    def redis_tls(self) -> RedisTls:
        """Return the files for TLS with Redis."""
        return RedisTls(self.redis_tls_ca, self.redis_tls_certificate, self.redis_tls_key)

    def stream_pace(self) -> PollSettings:
        """Return how often streams are read, and the lag and the delay that are allowed."""
        return PollSettings(self.stream_poll_interval, self.stream_max_lag, self.stream_delay)
