"""Every setting as text, and the settings that flags give."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dynamodb_processor_server.__main__ import _parser
from dynamodb_processor_server.cli.setting_flags import settings_of
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.limits.call_rate import RateClass
from dynamodb_processor_server.settings import Settings

PREFIX = "DYNAMODB_PROCESSOR_"
FILES = {"catalog": "catalog.yaml", "keys": "keys.yaml"}
SECRET = base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")

_ARN = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:ddb/token-keys-AbCdEf"

# Every setting as text, and its value.
GIVEN: dict[str, tuple[str, Any]] = {
    "catalog": ("/etc/c.yaml", Path("/etc/c.yaml")),
    "keys_secret": ("ddb/keys", "ddb/keys"),
    "keys": ("/etc/k.yaml", Path("/etc/k.yaml")),
    "identity": ("/etc/i.yaml", Path("/etc/i.yaml")),
    "key_set_interval": ("60", 60.0),
    "key_set_timeout": ("2.5", 2.5),
    "grants": ("warn", "warn"),
    "listen": ("[::1]:0", "[::1]:0"),
    "insecure": ("true", True),
    "tls_certificate": ("/etc/tls/tls.crt", Path("/etc/tls/tls.crt")),
    "tls_key": ("/etc/tls/tls.key", Path("/etc/tls/tls.key")),
    "tls_client_ca": ("/etc/tls/ca.crt", Path("/etc/tls/ca.crt")),
    "mtls_listen": ("0.0.0.0:2", "0.0.0.0:2"),
    "health_listen": ("0.0.0.0:3", "0.0.0.0:3"),
    "metrics_listen": ("0.0.0.0:1", "0.0.0.0:1"),
    "reflection": ("off", "off"),
    "compression": ("gzip", "gzip"),
    "max_connection_age": ("600", 600.0),
    "max_connection_age_grace": ("30", 30.0),
    "max_connections": ("50", 50),
    "max_calls_per_connection": ("25", 25),
    "max_calls": ("300", 300),
    "max_unauthenticated_calls": ("100", 100),
    "max_unsent_bytes": ("4000000", 4_000_000),
    "request_timeout": ("2.5", 2.5),
    "max_health_watches": ("16", 16),
    "cloudwatch": ("put", "put"),
    "cloudwatch_interval": ("90s", 90.0),
    "deployment": ("orders", "orders"),
    "tracing": ("otlp", "otlp"),
    "tracing_endpoint": ("http://collector:4318", "http://collector:4318"),
    "tracing_sample_ratio": ("0.25", 0.25),
    "log_format": ("console", "console"),
    "log_level": ("WARNING", "WARNING"),
    "slow_call_threshold": ("250ms", 0.25),
    "endpoint_url": ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
    "region": ("eu-west-1", "eu-west-1"),
    "backend_connect_timeout": ("0.5", 0.5),
    "backend_read_timeout": ("2.5", 2.5),
    "backend_attempts": ("5", 5),
    "breaker_failure_rate": ("0.25", 0.25),
    "breaker_open_seconds": ("1.5", 1.5),
    "cache_quarantine": ("0", 0.0),
    "cache_clock_skew": ("0.25", 0.25),
    "coalescing_timeout": ("5", 5.0),
    "cache_index_quarantine": ("7.5", 7.5),
    "token_keys": (f"a:{SECRET}", SecretStr(f"a:{SECRET}")),
    "token_keys_file": ("/run/secrets/token-keys", Path("/run/secrets/token-keys")),
    "token_keys_secret": (_ARN, _ARN),
    "token_lifetime": ("60", 60.0),
    "max_concurrent_reads": ("7", 7),
    "max_streams": ("8", 8),
    "admission_queue": ("0", 0),
    "rate_classes": (
        '{"default": {"calls_per_second": 5, "window": 10}}',
        {"default": RateClass(5, 10)},
    ),
    "rate_limit_store": ("redis", "redis"),
    "unary_deadline": ("1.5", 1.5),
    "stream_deadline": ("10", 10.0),
    "stream_interval": ("0.25", 0.25),
    "max_item_bytes": ("8000000", 8_000_000),
    "max_page_bytes": ("1000000", 1_000_000),
    "cache_max_bytes": ("0", 0),
    "shared_read_timeout": ("3", 3.0),
    "redis_url": ("redis://:hush@localhost", SecretStr("redis://:hush@localhost")),
    "redis_url_file": ("/run/secrets/redis-url", Path("/run/secrets/redis-url")),
    "redis_url_secret": ("redis_url+1=@x.y", "redis_url+1=@x.y"),
    "secret_interval": ("5m", 300.0),
    "secret_timeout": ("2.5", 2.5),
    "redis_prefix": ("mine:", "mine:"),
    "redis_tls_ca": ("/run/tls/redis-ca.pem", Path("/run/tls/redis-ca.pem")),
    "redis_tls_certificate": ("/run/tls/redis.pem", Path("/run/tls/redis.pem")),
    "redis_tls_key": ("/run/tls/redis-key.pem", Path("/run/tls/redis-key.pem")),
    "redis_timeout": ("0.25", 0.25),
    "redis_unavailable": ("serve_until_ttl", "serve_until_ttl"),
    "single_replica": ("true", True),
    "streams_endpoint_url": ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
    "stream_poll_interval": ("0.25", 0.25),
    "stream_max_lag": ("30", 30.0),
    "stream_delay": ("1.5", 1.5),
    "catalog_refresh": ("10", 10.0),
    "reload_interval": ("1", 1.0),
    "drain_delay": ("0", 0.0),
    "drain_grace": ("4", 4.0),
}
# Every duration that may be one second.
DURATIONS = [
    name
    for name, field in Settings.model_fields.items()
    if field.annotation is float and name not in ("breaker_failure_rate", "stream_max_lag")
]
SECRETS = {"token_keys", "redis_url"}


def with_files(given: dict[str, str]) -> dict[str, str]:
    """Return settings with the files that are required beside them."""
    required = {name: text for name, text in FILES.items() if f"{name}_secret" not in given}
    return required | given


def by_flags(**given: str) -> Settings:
    """Return the settings of `serve` with these flags."""
    flags = [f"--{name.replace('_', '-')}={text}" for name, text in with_files(given).items()]
    return settings_of(_parser(["serve"]).parse_args(["serve", *flags]))


def error_for(**given: str) -> str:
    """Return the error for refused flags."""
    with pytest.raises(ConfigurationError) as caught:
        by_flags(**given)
    return str(caught.value)
