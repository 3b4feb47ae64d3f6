"""Options of the channel: load balancing, retries and keepalive as the service expects them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

ChannelOptions = Sequence[tuple[str, Any]]

# The channel retries a call until its first message; after that `PageStream` resumes a stream. The
# throttle keeps a fleet of clients from multiplying an outage: every failure costs a token, ten
# successes earn one, and below half of the tokens nothing is retried. The tokens are enough for all
# calls that are in progress on one replica when it stops.
SERVICE_CONFIG: Final = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [
                {"service": "dynamodb_processor.v1.QueryService"},
                {"service": "dynamodb_processor.v1.CatalogService"},
            ],
            "waitForReady": False,
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                # A stopping server may cancel calls that arrive at that moment (grpc#41785).
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
}

_DEFAULT_OPTIONS: Final[ChannelOptions] = (
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.primary_user_agent", "dynamodb-processor-client-python"),
    # Detects dead connections in 70 s, also between calls: proxies drop idle ones silently.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # gRPC's default pauses between connection attempts (1 s, growing to 2 min) are longer than the
    # resumption of a stream takes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)
# Between replicas one that does not answer is left soon: gRPC's bound on connecting is 20 s.
_REPLICA_OPTIONS: Final[ChannelOptions] = (("grpc.min_reconnect_backoff_ms", 2_000),)


def channel_options(options: ChannelOptions) -> ChannelOptions:
    """Return the options of a channel: those of this module, which `options` override."""
    return list({**dict(_DEFAULT_OPTIONS), **dict(options)}.items())


def replica_options(options: ChannelOptions) -> ChannelOptions:
    """Return the options of a channel to one of several replicas, which `options` override."""
    return list({**dict(_REPLICA_OPTIONS), **dict(options)}.items())
