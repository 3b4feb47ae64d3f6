"""Settings of the server itself: files, addresses, bounds on clients, log, shutdown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from dynamodb_processor_server.config_files import duration
from dynamodb_processor_server.setting_types import (
    LONGEST_SECONDS,
    MEBIBYTE,
    Address,
    DeploymentName,
    OptionalAddress,
    OptionalPath,
    OptionalSecretName,
    OptionalUrl,
    Seconds,
)

ENVIRONMENT_PREFIX: Final = "DYNAMODB_PROCESSOR_"
_LONGEST_CONNECTION: Final = 2_000_000  # gRPC counts milliseconds in 32 bits


class ServingSettings(BaseSettings):
    """How the server serves. Durations are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    catalog: Path = Field(
        description="Path of the catalog file, which names the tables that callers can read."
    )
    # Before `keys`, whose validation depends on it.
    keys_secret: OptionalSecretName = Field(
        None,
        description="Name or ARN of a secret in AWS Secrets Manager that has the content of the "
        "keys file, instead of `keys`; a new version is noticed within `secret_interval`.",
    )
    keys: OptionalPath = Field(
        None,
        validate_default=True,
        description="Path of the keys file: digests of API keys, names in client certificates, and "
        "the tables that each may read. Required without `keys_secret`.",
    )
    identity: OptionalPath = Field(
        None,
        description="Path of the identity file: issuers of bearer tokens (JSON Web Tokens), and "
        "the tables that each role in a token may read. Absent: no bearer tokens.",
    )
    key_set_interval: Seconds = Field(
        300.0,
        description="Seconds between two reads of an issuer's key set at an address. A token with "
        "an unknown key causes a read at once; key sets in files are read every "
        "`reload_interval`.",
    )
    key_set_timeout: Seconds = Field(
        5.0, description="Timeout in seconds for one read of a key set at an address."
    )
    grants: Literal["enforce", "warn"] = Field(
        "enforce",
        description="What happens to calls about a table that no grant of the caller names: "
        "`enforce` refuses them, `warn` serves the whole table, logs and counts the call, for "
        "introducing grants. Credentials, roles, and grants that name the table hold in both.",
    )
    reload_interval: Seconds = Field(
        5.0,
        description="Seconds between two checks of the catalog, the keys file, the identity file, "
        "key sets in files, the TLS files and secrets in files for changes.",
    )
    listen: Address = Field(
        "127.0.0.1:50051",
        description="Address of the gRPC server, `HOST:PORT`; port 0 takes a free port. The server "
        "listens on each address of this machine that `HOST` resolves to. If one is taken, it "
        "does not start.",
    )
    insecure: bool = Field(
        False,
        description="Whether the server may serve plain text on an address that is not loopback. "
        "API keys then travel unencrypted, unless a proxy or a mesh beside it encrypts.",
    )
    tls_certificate: OptionalPath = Field(
        None,
        description="Path of the server's certificate in PEM, followed by the intermediate ones; "
        "with `tls_key` it turns TLS on.",
    )
    tls_key: OptionalPath = Field(
        None, description="Path of the certificate's private key in PEM, unencrypted."
    )
    tls_client_ca: OptionalPath = Field(
        None,
        description="Path of the certificates, in PEM, of the authorities that sign client "
        "certificates. `listen` then requires one of each client, unless `mtls_listen` is set.",
    )
    mtls_listen: OptionalAddress = Field(
        None,
        description="A second address of the gRPC server, which requires client certificates; "
        "`listen` then requires none.",
    )
    health_listen: OptionalAddress = Field(
        None,
        description="Address of a port for probes, which serves only `grpc.health.v1`, always in "
        "plain text.",
    )
    metrics_listen: OptionalAddress = Field(
        "127.0.0.1:9464",
        description="Address of the Prometheus endpoint, served over HTTP; empty turns it off.",
    )
    cloudwatch: Literal["off", "put", "log"] = Field(
        "off",
        description="Core metrics to CloudWatch: `put` sends them by PutMetricData, `log` writes "
        "them as log lines in the Embedded Metric Format, for which `log_format` must be `json`.",
    )
    cloudwatch_interval: Seconds = Field(
        60.0, description="Seconds between two metrics to CloudWatch."
    )
    deployment: DeploymentName = Field(
        "default", description="Name of the deployment: the dimension `Deployment` of CloudWatch."
    )
    tracing: Literal["off", "otlp"] = Field(
        "off",
        description="Traces of calls: `otlp` sends them to an OpenTelemetry collector by OTLP over "
        "HTTP, for which the packages of the extra `tracing` must be installed.",
    )
    tracing_endpoint: OptionalUrl = Field(
        None,
        description="URL of the collector; without a path, `/v1/traces` is added. Absent: the "
        "variables `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, then `OTEL_EXPORTER_OTLP_ENDPOINT`, then "
        "`http://localhost:4318`.",
    )
    tracing_sample_ratio: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Part of the traces that begin here and are recorded, from 0 to 1; the caller "
        "decides for a trace that begins with it. Absent: the variable `OTEL_TRACES_SAMPLER`, then "
        "all.",
    )
    reflection: Literal["open", "authenticated", "off"] = Field(
        "open",
        description="Access to server reflection: `open` to everyone, `authenticated` for callers "
        "with an API key or a known certificate, or `off`.",
    )
    compression: Literal["off", "gzip"] = Field(
        "off",
        description="Compression of responses to clients that accept it: `off`, or `gzip`, which "
        "saves traffic and costs CPU.",
    )
    max_connection_age: Annotated[float, duration(0, _LONGEST_CONNECTION)] = Field(
        60.0,
        description="Seconds after which the server asks a client to reconnect, so that clients "
        "spread over new replicas; 0 never asks. At most 2,000,000.",
    )
    max_connection_age_grace: Annotated[float, duration(0, _LONGEST_CONNECTION, above=True)] = (
        Field(
            60.0,
            description="Seconds that calls in progress then have to end; `unary_deadline` if that "
            "is longer. A longer stream breaks with `UNAVAILABLE` and resumes from its "
            "`resume_token`. At most 2,000,000.",
        )
    )
    max_connections: int = Field(
        1_000,
        ge=2,
        le=1_000_000,
        description="Maximum number of connections to `listen`. No client address has more than "
        "half of them for long: the server closes its longest silent ones. The number is lower "
        "where the limit on open files (`ulimit -n`) leaves too few for the rest of the server.",
    )
    max_calls_per_connection: int = Field(
        250,
        ge=1,
        le=10_000,
        description="Maximum number of calls in progress on one connection; clients hold back "
        "further ones.",
    )
    max_calls: int = Field(
        4_000,
        ge=2,
        description="Maximum number of calls in progress; no principal has more than half. A call "
        "counts until its client has received the answer.",
    )
    max_unauthenticated_calls: int = Field(
        2_000,
        ge=64,
        description="Maximum number of calls in progress whose caller is unknown: health checks, "
        "open reflection, refused keys. Above it the server closes the connection with most of "
        "them.",
    )
    max_unsent_bytes: int = Field(
        128 * MEBIBYTE,
        ge=2 * MEBIBYTE,
        description="Maximum bytes of answers that clients have not received yet; no principal has "
        "more than half. The process needs about twice as much memory for them.",
    )
    max_health_watches: int = Field(
        1_024,
        ge=2,
        description="Maximum number of open `Watch` calls of the health service. No address has "
        "more than half, and no connection more than 16.",
    )
    request_timeout: Seconds = Field(
        10.0, description="Timeout in seconds for receiving one whole request."
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="Format of log lines: `json` or `console`."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO",
        description="Lowest level that is logged: `DEBUG`, `INFO`, `WARNING` or `ERROR`. The "
        "access log is `INFO`. Audit lines are always logged.",
    )
    slow_call_threshold: Annotated[float, duration(0, LONGEST_SECONDS)] = Field(
        1.0,
        description="Seconds from which a call is logged as `slow_call`, with its plan and where "
        "the time went; 0 logs none. Of a stream the longest wait for one message counts.",
    )
    drain_delay: Annotated[float, duration(0, LONGEST_SECONDS)] = Field(
        3.0,
        description="Seconds for which the server keeps serving after readiness has ended; 0 is "
        "allowed.",
    )
    drain_grace: Seconds = Field(
        20.0, description="Seconds that calls in progress then have to end."
    )

    @field_validator("keys")
    @classmethod
    def _has_one_source(cls, keys: Path | None, info: ValidationInfo) -> Path | None:
        """Validate that either the file or the secret is given."""
        secret = info.data.get("keys_secret")
        if keys is not None and secret is not None:
            raise ValueError(
                "contradicts keys_secret; give one of the two, and an empty text for the other"
            )
        if keys is None and secret is None and "keys_secret" in info.data:
            raise PydanticCustomError("missing", "Field required")
        return keys
