"""Every setting, in one frozen object: the only reader of the environment.

A setting is given as `--its-name` or as `DYNAMODB_PROCESSOR_ITS_NAME`; the flag wins. Secrets have
no flag: command lines are seen by everyone on a machine.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import replace
from typing import Final, Literal

from pydantic import Field, SecretStr

from dynamodb_processor_server.cache.quarantine import Quarantine
from dynamodb_processor_server.dynamodb.backend import BackendSettings
from dynamodb_processor_server.dynamodb.clients import ClientSettings, default_region
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.limits.call_rate import RateClass
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.runtime.circuit_breaker import BreakerSettings
from dynamodb_processor_server.runtime.timing import Pace
from dynamodb_processor_server.serving_settings import (
    ENVIRONMENT_PREFIX,
    MEBIBYTE,
    ServingSettings,
)
from dynamodb_processor_server.setting_types import (
    LONGEST_SECONDS,
    OptionalRegion,
    OptionalUrl,
    RateClasses,
    Seconds,
    aws_region,
    token_key_ring,
)

#: Settings that had other names: the old name, and the one that replaces it.
RENAMED: Final = {
    "breaker_cool_down": "breaker_open_seconds",
    "redis_lost": "redis_unavailable",
    "sole_replica": "single_replica",
}
_DEMO_PREFIX: Final = f"{ENVIRONMENT_PREFIX}DEMO_"  # what the demo hands to its servers
_STREAM_CONNECTIONS = 32
_REDIS_CONNECTIONS = 64


class Settings(ServingSettings):
    """How the server runs. Times are in seconds, sizes in bytes."""

    endpoint_url: OptionalUrl = Field(
        None, description="A DynamoDB endpoint other than AWS's, such as a local one."
    )
    region: OptionalRegion = Field(
        None,
        description="The AWS region of tables that name none; absent: `AWS_REGION`, then "
        "`AWS_DEFAULT_REGION`, then the AWS profile.",
    )
    backend_connect_timeout: Seconds = Field(
        3.0, description="Seconds that connecting to DynamoDB may take."
    )
    backend_read_timeout: Seconds = Field(
        5.0, description="Seconds that DynamoDB may take for one answer."
    )
    backend_attempts: int = Field(
        3, ge=1, le=10, description="Attempts at one request to DynamoDB, the first included."
    )

    breaker_failure_rate: float = Field(
        0.5, gt=0, le=1, description="Failure ratio at which a table's circuit breaker opens."
    )
    breaker_open_seconds: Seconds = Field(
        2.0, description="Seconds that an open breaker waits before it lets one probe through."
    )

    token_keys: SecretStr | None = Field(
        None,
        description="Keys that seal page tokens, `id:base64url of 32 bytes`, separated by commas; "
        "the first seals, all open. Absent: a key of this process's own.",
    )
    token_lifetime: Seconds = Field(
        86_400.0, description="Seconds for which a page token is valid."
    )

    max_concurrent_reads: int = Field(
        200,
        ge=1,
        description="Reads of DynamoDB at once, of which no principal has more than seven of "
        "eight; connections to it.",
    )
    admission_queue: int = Field(100, ge=0, description="Reads that wait for one of those places.")
    max_streams: int = Field(
        256,
        ge=2,
        description="Streams open at once, of which no principal has more than half; each may hold "
        "two pages of `max_page_bytes`.",
    )
    max_health_watches: int = Field(
        1_024,
        ge=2,
        description="Calls of the health service's `Watch` open at once, of which no address has "
        "more than half and no connection more than 16.",
    )
    rate_classes: RateClasses = Field(
        {"default": RateClass(calls_per_second=1_000)},
        description="Limits of each principal by rate class, as JSON: `calls_per_second`, and if "
        "wanted `read_units_per_minute` and, on each table, `table_calls_per_second` and "
        "`table_read_units_per_minute`; `planning_seconds_per_second` (0.25 unless given, null for "
        "no limit) are processor seconds that a replica spends on decoding, parsing and planning a "
        "principal's requests, and on conditions that DynamoDB cannot evaluate.",
    )
    rate_limit_store: Literal["memory", "redis"] = Field(
        "memory",
        description="Where use of those limits is counted: by each replica for itself, or together "
        "in `redis_url`.",
    )
    unary_deadline: Seconds = Field(
        30.0,
        description="Seconds for unary calls, and for their answers to be taken; a caller's own "
        "deadline counts where it is shorter.",
    )
    stream_deadline: Seconds = Field(
        3_600.0,
        description="Seconds for streams; a caller's own deadline counts where it is shorter.",
    )
    stream_interval: Seconds = Field(
        2.0, description="Seconds between the messages of a stream, at most."
    )
    max_page_bytes: int = Field(
        3_500_000, ge=500_000, le=64 * MEBIBYTE, description="Bytes of encoded items on one page."
    )

    max_item_bytes: int = Field(
        4_000_000,
        ge=100_000,
        le=64 * MEBIBYTE,
        description="Bytes of the largest item that is sent, as a message; a larger one is named "
        "in an error. Clients of gRPC take messages of 4 MiB unless they set another limit.",
    )
    cache_max_bytes: int = Field(
        256 * MEBIBYTE, ge=0, description="Bytes of cached pages, at most; 0 keeps none."
    )
    cache_quarantine: float = Field(
        2.0,
        ge=0,
        le=3_600,
        description="Seconds after an invalidation in which reads are strongly consistent, or not "
        "cached where DynamoDB has no such reads: an eventually consistent one may be old.",
    )
    cache_index_quarantine: float = Field(
        10.0, ge=0, le=3_600, description="Seconds of the same for reads of global indexes."
    )
    shared_read_timeout: Seconds = Field(
        30.0, description="Seconds that a read may take which several callers share."
    )

    redis_url: SecretStr | None = Field(
        None,
        description="Redis or Valkey that replicas share pages and invalidations through; needs "
        "`token_keys`, the same for all.",
    )
    redis_prefix: str = Field(
        "dynamodb-processor:",
        min_length=1,
        max_length=100,
        description="What all keys in it begin with: one for each fleet.",
    )
    redis_timeout: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Seconds that one Redis command may take; then the replica goes on without it.",
    )
    redis_unavailable: Literal["bypass", "serve_until_ttl"] = Field(
        "bypass",
        description="What becomes of cached pages while invalidations cannot be heard: not served, "
        "or served until their time to live ends.",
    )

    single_replica: bool = Field(
        False,
        description="Whether this is the only replica: then it may follow tables' streams without "
        "`redis_url`.",
    )
    streams_endpoint_url: OptionalUrl = Field(
        None, description="A DynamoDB Streams endpoint; absent: `endpoint_url`, or AWS's."
    )
    stream_poll_interval: float = Field(
        0.5,
        ge=0.2,
        le=2,
        description="Seconds between two reads of each shard of a table's stream.",
    )
    stream_max_lag: float = Field(
        10.0,
        ge=5,
        le=3_600,
        description="Seconds that following a stream may be behind before its whole table is "
        "invalidated.",
    )

    catalog_refresh: Seconds = Field(
        60.0, description="Seconds between two descriptions of each table."
    )
    reload_interval: Seconds = Field(
        5.0, description="Seconds between two checks of the catalog and the keys file."
    )
    drain_delay: float = Field(
        3.0,
        ge=0,
        le=LONGEST_SECONDS,
        description="Seconds for which the server serves on after readiness has ended.",
    )
    drain_grace: Seconds = Field(20.0, description="Seconds that calls under way then have to end.")

    def effective_region(self) -> str | None:
        """Return the region of tables that name none, None if nothing says it.

        botocore reads `AWS_DEFAULT_REGION` alone; other SDKs, ECS and Lambda set `AWS_REGION`,
        which wins as it does in AWS's command line. Raises ConfigurationError.
        """
        if self.region is not None:
            return self.region
        named = os.environ.get("AWS_REGION") or default_region()
        try:
            return aws_region(named) if named else None
        except ValueError as error:
            raise ConfigurationError(f"AWS_REGION or AWS_DEFAULT_REGION: {error}") from None

    def client_settings(self) -> ClientSettings:
        """Return how to reach DynamoDB."""
        return ClientSettings(
            endpoint_url=self.endpoint_url,
            region=self.effective_region(),
            pool_size=self.max_concurrent_reads,
            connect_timeout=self.backend_connect_timeout,
            read_timeout=self.backend_read_timeout,
        )

    def backend_settings(self) -> BackendSettings:
        """Return how DynamoDB is treated."""
        return BackendSettings(
            attempts=self.backend_attempts,
            attempt_timeout=self.backend_connect_timeout + self.backend_read_timeout,
            connections=self.max_concurrent_reads,
            breaker=BreakerSettings(
                failure_rate=self.breaker_failure_rate, cool_down=self.breaker_open_seconds
            ),
        )

    def other_connections(self) -> int:
        """Return how many connections the server may have that clients have not opened."""
        return self.max_concurrent_reads + _STREAM_CONNECTIONS + _REDIS_CONNECTIONS

    def catalog_context(self) -> dict[str, object]:
        """Return what a catalog must fit, besides its own rules."""
        return {
            "may_follow": self.single_replica or self.redis_url is not None,
            "has_region": self.effective_region() is not None,
        }

    def stream_client_settings(self) -> ClientSettings:
        """Return how to reach DynamoDB Streams."""
        url = self.streams_endpoint_url or self.endpoint_url
        return replace(self.client_settings(), endpoint_url=url, pool_size=_STREAM_CONNECTIONS)

    def quarantine(self) -> Quarantine:
        """Return for how long after invalidations reads are not cached."""
        return Quarantine(self.cache_quarantine, self.cache_index_quarantine)

    def stream_pace(self) -> Pace:
        """Return how streams are followed."""
        return Pace(self.stream_poll_interval, self.stream_max_lag)

    def shared_cache_keys(self) -> tuple[TokenKey, ...]:
        """Return what the shared tier's keys are derived from; raise ConfigurationError."""
        if self.token_keys is None:
            raise ConfigurationError("redis_url: needs token_keys, the same for all replicas")
        return self.token_key_ring()

    def shared_limits_url(self) -> str | None:
        """Return the Redis that limits are counted in, if any; raise ConfigurationError."""
        if self.rate_limit_store == "memory":
            return None
        if self.redis_url is None:
            raise ConfigurationError("rate_limit_store: redis needs redis_url")
        return self.redis_url.get_secret_value()

    def token_key_ring(self) -> tuple[TokenKey, ...]:
        """Return the token keys, newest first. Raise ConfigurationError naming the wrong entry."""
        if self.token_keys is None:
            return (TokenKey("process", secrets.token_bytes(32)),)
        return token_key_ring(self.token_keys.get_secret_value())


def renamed_variables() -> dict[str, str]:
    """Return the environment's variables that have a setting's old name, and that name."""
    old = {ENVIRONMENT_PREFIX + name.upper(): name for name in RENAMED}
    return {name: old[name.upper()] for name in sorted(os.environ) if name.upper() in old}


def unknown_variables() -> list[str]:
    """Return the environment's variables that look like settings, but name none."""
    known = {ENVIRONMENT_PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(
        name
        for name in os.environ
        if name.upper().startswith(ENVIRONMENT_PREFIX)
        and not name.upper().startswith(_DEMO_PREFIX)
        and name.upper() not in known
    )
