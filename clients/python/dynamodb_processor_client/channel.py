"""The channel: load balancing, retries and keepalive, as the service expects them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import grpc

ChannelOptions = Sequence[tuple[str, Any]]

# Until its first message a call is the channel's to retry; afterwards a stream is resumed by
# `PageStream`. The throttle keeps a fleet of clients from multiplying an outage: every failure
# costs a token, ten successes earn one, and below half of them nothing is retried. There are enough
# for all calls that one replica has under way when it stops.
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
                # A server that stops may cancel what reaches it at that moment (grpc#41785).
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
}

_DEFAULT_OPTIONS: Final[ChannelOptions] = (
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.primary_user_agent", "dynamodb-processor-client-python"),
    # Dead connections are noticed in 70 s, also between calls: proxies drop idle ones silently.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # gRPC's own pauses between connection attempts (1 s, growing to 2 min) would outlast the
    # resumption of a stream.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


def open_channel(
    target: str, credentials: grpc.ChannelCredentials | None, options: ChannelOptions
) -> grpc.aio.Channel:
    """Return a channel to `target`, in plain text without `credentials`.

    Of the channel options, those given win over this module's.
    """
    merged = list({**dict(_DEFAULT_OPTIONS), **dict(options)}.items())
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=merged)
    return grpc.aio.secure_channel(target, credentials, options=merged)
