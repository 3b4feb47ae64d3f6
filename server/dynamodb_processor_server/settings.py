"""Every setting, in one frozen object; nothing else reads the environment.

A setting is given by the flag `--its-name` or the variable `DYNAMODB_PROCESSOR_ITS_NAME`; the flag
wins. Secrets have no flag, since every user of a machine can see its command lines.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import Field

from dynamodb_processor_server.cache_settings import CacheSettings
from dynamodb_processor_server.config_files.tls_files import TlsFiles
from dynamodb_processor_server.dynamodb.clients import ClientSettings, default_region
from dynamodb_processor_server.dynamodb_settings import DynamoDBSettings
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.limits.call_rate import RateClass
from dynamodb_processor_server.secret_settings import SecretSettings
from dynamodb_processor_server.serving_settings import ENVIRONMENT_PREFIX, ServingSettings
from dynamodb_processor_server.setting_types import (
    MEBIBYTE,
    RateClasses,
    Seconds,
    aws_region,
)

#: Settings that had other names: the old name, and the one that replaces it.
RENAMED: Final = {
    "breaker_cool_down": "breaker_open_seconds",
    "redis_lost": "redis_unavailable",
    "sole_replica": "single_replica",
}
_DEMO_PREFIX: Final = f"{ENVIRONMENT_PREFIX}DEMO_"  # variables of the demo for its servers
#: Experiments of gRPC that a server runs with. This one wakes gRPC's thread for completed
#: operations by a condition variable, not by a file descriptor under a lock: see docs/decisions.
GRPC_EXPERIMENTS: Final = "pollset_alternative"
# OpenTelemetry's library logs an entry that is not of this form, which may be a secret.
_OTLP_HEADER: Final = re.compile(r"[!#-'*+\-.0-9A-Z^-z|~]+[ \t]*=[ !#-+\--:<-\[\]-~\t]*")
_STREAM_CONNECTIONS = 32
_SECRET_CONNECTIONS = 4
_REDIS_CONNECTIONS = 64
#: Connections to `health_listen`.
HEALTH_CONNECTIONS: Final = 128


class Settings(CacheSettings, DynamoDBSettings, SecretSettings, ServingSettings):
    """How the server runs. Durations are in seconds, sizes in bytes."""

    token_lifetime: Seconds = Field(
        86_400.0, description="Seconds for which a page token is valid."
    )
    rate_classes: RateClasses = Field(
        {"default": RateClass(calls_per_second=1_000)},
        description="Limits of each principal by rate class, as JSON. `calls_per_second` is "
        "required and averaged over `window` seconds (1 by default). Optional are "
        "`read_units_per_minute` and, on each table, `table_calls_per_second` and "
        "`table_read_units_per_minute`. `planning_seconds_per_second` (0.25 by default, null for "
        "no limit) bounds the processor time that one replica spends on a principal: decoding, "
        "parsing and planning requests, and evaluating conditions that DynamoDB cannot.",
    )
    rate_limit_store: Literal["memory", "redis"] = Field(
        "memory",
        description="Where rate limits are counted: `memory` counts in each replica by itself, "
        "`redis` counts all replicas together in `redis_url`.",
    )
    max_streams: int = Field(
        256,
        ge=2,
        description="Maximum number of open streams; no principal has more than half. Each may "
        "hold two pages of `max_page_bytes`.",
    )
    unary_deadline: Seconds = Field(
        30.0,
        description="Longest deadline in seconds of a unary call, and for its client to receive "
        "the answer. A shorter deadline of the caller's counts.",
    )
    stream_deadline: Seconds = Field(
        3_600.0,
        description="Longest deadline in seconds of a stream. A shorter deadline of the caller's "
        "counts.",
    )
    stream_interval: Seconds = Field(
        2.0, description="Longest time in seconds between two messages of a stream."
    )
    max_page_bytes: int = Field(
        3_500_000,
        ge=500_000,
        le=64 * MEBIBYTE,
        description="Maximum bytes of encoded items on one page.",
    )
    max_item_bytes: int = Field(
        4_000_000,
        ge=100_000,
        le=64 * MEBIBYTE,
        description="Maximum bytes of one item as a message; the error `ITEM_TOO_LARGE` names a "
        "larger item. gRPC clients accept messages of 4 MiB unless they set another limit.",
    )

    def effective_region(self) -> str | None:
        """Return the region of tables that name none; None if no source gives one.

        Raises ConfigurationError.
        """
        return region_of_environment() if self.region is None else self.region

    def tls_files(self) -> TlsFiles | None:
        """Return the files for TLS; None for plain text.

        Raises ConfigurationError if one of the settings lacks another, or contradicts it.
        """
        if self.tls_certificate is None or self.tls_key is None:
            for needing, needed, is_wrong in (
                ("tls_key", "tls_certificate", self.tls_key and not self.tls_certificate),
                ("tls_certificate", "tls_key", self.tls_certificate and not self.tls_key),
                ("tls_client_ca", "tls_certificate and tls_key", self.tls_client_ca),
                ("mtls_listen", "tls_certificate, tls_key and tls_client_ca", self.mtls_listen),
            ):
                if is_wrong:
                    raise ConfigurationError(f"{needing}: needs {needed}")
            return None
        if self.mtls_listen is not None and self.tls_client_ca is None:
            raise ConfigurationError("mtls_listen: needs tls_client_ca")
        if self.insecure:
            raise ConfigurationError("insecure: contradicts tls_certificate; give one of the two")
        return TlsFiles(self.tls_certificate, self.tls_key, self.tls_client_ca)

    def traces_url(self) -> str | None:
        """Return the URL that takes traces, None for that of OpenTelemetry's variables."""
        given = self.tracing_endpoint
        if given is None or urlsplit(given).path not in ("", "/"):
            return given
        return f"{given.removesuffix('/')}/v1/traces"

    def check_otlp_variables(self) -> None:
        """Check those of OpenTelemetry's variables that its library would not refuse by itself.

        Raises ConfigurationError, without the content of headers, which are secrets.
        """
        for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
            protocol = os.environ.get(name)
            if protocol:
                if protocol != "http/protobuf":
                    raise ConfigurationError(
                        f"{name}: must be http/protobuf, the one protocol of traces here; the port "
                        "of a collector for it is usually 4318"
                    )
                break
        for name in ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"):
            for number, entry in enumerate(os.environ.get(name, "").split(","), 1):
                if entry.strip() and not _OTLP_HEADER.fullmatch(entry.strip()):
                    raise ConfigurationError(
                        f"{name}: entry {number} must be name=value, with an URL-encoded value"
                    )

    def client_settings(self) -> ClientSettings:
        """Return how to reach DynamoDB."""
        return ClientSettings(
            endpoint_url=self.endpoint_url,
            region=self.effective_region(),
            pool_size=self.max_concurrent_reads,
            connect_timeout=self.backend_connect_timeout,
            read_timeout=self.backend_read_timeout,
        )

    def other_connections(self) -> int:
        """Return how many connections there may be beside those of clients to `listen`."""
        probes = HEALTH_CONNECTIONS if self.health_listen is not None else 0
        own = _STREAM_CONNECTIONS + _REDIS_CONNECTIONS + _SECRET_CONNECTIONS
        return self.max_concurrent_reads + own + probes

    def catalog_context(self) -> dict[str, object]:
        """Return the context that a catalog is validated with, beside its own rules."""
        return {
            "may_consume_streams": self.single_replica or self.has_redis,
            "has_region": self.effective_region() is not None,
        }

    def stream_client_settings(self) -> ClientSettings:
        """Return how to reach DynamoDB Streams."""
        url = self.streams_endpoint_url or self.endpoint_url
        return replace(self.client_settings(), endpoint_url=url, pool_size=_STREAM_CONNECTIONS)

    def secret_client_settings(self) -> ClientSettings:
        """Return how to reach AWS Secrets Manager, whose endpoint is AWS's own."""
        return ClientSettings(
            region=self.effective_region(),
            pool_size=_SECRET_CONNECTIONS,
            read_timeout=self.secret_timeout,
        )

    def check_secrets(self) -> None:
        """Raise ConfigurationError if a secret has two sources, or lacks another one."""
        super().check_secrets()
        if self.rate_limit_store == "redis" and not self.has_redis:
            raise ConfigurationError("rate_limit_store: redis needs redis_url")


def region_of_environment() -> str | None:
    """Return the region that AWS's own variables or the AWS profile name, if any.

    botocore reads `AWS_DEFAULT_REGION` alone; other SDKs, ECS and Lambda set `AWS_REGION`, which
    wins as it does in AWS's command line. Raises ConfigurationError.
    """
    named = os.environ.get("AWS_REGION") or default_region()
    try:
        return aws_region(named) if named else None
    except ValueError as error:
        raise ConfigurationError(f"AWS_REGION or AWS_DEFAULT_REGION: {error}") from None


def renamed_variables() -> dict[str, str]:
    """Return the environment's variables that have a setting's old name, and that name."""
    old = {ENVIRONMENT_PREFIX + name.upper(): name for name in RENAMED}
    return {name: old[name.upper()] for name in sorted(os.environ) if name.upper() in old}


def unknown_variables() -> list[str]:
    """Return the environment's variables that have the prefix of settings, but name none."""
    known = {ENVIRONMENT_PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(
        name
        for name in os.environ
        if name.upper().startswith(ENVIRONMENT_PREFIX)
        and not name.upper().startswith(_DEMO_PREFIX)
        and name.upper() not in known
    )


def choose_grpc_experiments() -> None:
    """Choose gRPC's experiments, which it reads when it starts, unless the operator has.

    `GRPC_EXPERIMENTS` is gRPC's own variable. An empty value turns all experiments off.
    """
    os.environ.setdefault("GRPC_EXPERIMENTS", GRPC_EXPERIMENTS)
