"""Envoy's cluster: the servers behind the gateway, their health, and the choice among them."""

from __future__ import annotations

from typing import Any, Final

from gateway.options import Address, Options
from gateway.routes import CLUSTER

_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_MIB: Final = 1_048_576
# The server's bound on calls in progress, `max_calls`.
_MAX_CALLS: Final = 4_000


def service_cluster(options: Options) -> dict[str, Any]:
    """Return the cluster of all servers."""
    endpoints = [{"endpoint": {"address": each.envoy}} for each in options.upstreams]
    cluster: dict[str, Any] = {
        "name": CLUSTER,
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": CLUSTER, "endpoints": [{"lb_endpoints": endpoints}]},
        "per_connection_buffer_limit_bytes": _MIB,
        "typed_extension_protocol_options": {_OPTIONS: _http2()},
        "circuit_breakers": {"thresholds": [_bounds()]},
        "health_checks": [_health_check()],
        "outlier_detection": _outliers(),
        **_discovery(options.upstreams),
        **_balancing(),
    }
    if options.upstream_ca is not None:
        cluster["transport_socket"] = _tls(options)
    return cluster


def _discovery(servers: Any) -> dict[str, Any]:
    """Return how servers are found: by their addresses, or all addresses of their names."""
    if all(server.is_ip for server in servers):
        return {"type": "STATIC"}
    return {
        "type": "STRICT_DNS",
        "dns_refresh_rate": "5s",
        "respect_dns_ttl": False,
        "dns_lookup_family": "ALL",
    }


def _balancing() -> dict[str, Any]:
    """Return consistent hashing: equal keys reach one server, calls without a key any server.

    Envoy's ring hash has more points for each server when one has left, so keys of the others move
    as well: 9 of 62, when one of three left. With Maglev's table none of 56 did.
    Without a ready server calls fail at once, instead of being sent to one that is not ready.
    """
    return {
        "lb_policy": "MAGLEV",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }


def _health_check() -> dict[str, Any]:
    """Return the check of readiness: a server that drains gets no further calls."""
    return {
        "timeout": "1s",
        "interval": "1s",
        "interval_jitter": "0.2s",
        "no_traffic_interval": "1s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "grpc_health_check": {"service_name": "readiness"},
    }


def _outliers() -> dict[str, Any]:
    """Return the ejection of servers that cannot be reached.

    Errors that a server answers never eject it: if DynamoDB throttles, all servers say so.
    """
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 3,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "interval": "1s",
        "base_ejection_time": "5s",
        "max_ejection_time": "30s",
        "max_ejection_percent": 50,
    }


def _bounds() -> dict[str, Any]:
    return {
        "max_connections": 1_000,
        "max_pending_requests": 1_000,
        "max_requests": _MAX_CALLS,
        "max_retries": 100,
    }


def _http2() -> dict[str, Any]:
    # Pings find a connection that is dead without a sign. The server allows one every 10 s.
    keepalive = {"interval": "30s", "timeout": "5s", "connection_idle_interval": "30s"}
    return {
        "@type": f"type.googleapis.com/{_OPTIONS}",
        "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": keepalive}},
    }


def _tls(options: Options) -> dict[str, Any]:
    """Return TLS towards the servers, without a certificate of the gateway's own.

    With one, the server would take a caller without a key for the gateway.
    """
    name = options.upstream_name or options.upstreams[0].host
    is_ip = Address(name, 1).is_ip
    kind = "IP_ADDRESS" if is_ip else "DNS"
    context: dict[str, Any] = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "validation_context": {
                "trusted_ca": {"filename": str(options.upstream_ca)},
                "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": name}}],
            },
        },
    }
    if not is_ip:
        context["sni"] = name
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}
