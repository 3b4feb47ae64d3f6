"""Envoy's routes: one for each HTTP rule, those of gRPC, and the refusal of all others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from gateway.descriptors import service_names
from gateway.errors import JSON, REFUSALS, Refusal, headers
from gateway.options import Options
from gateway.rules import Rule
from gateway.static_files import static_routes

CLUSTER: Final = "service"
#: Callers set it to equal values for equal reads, which then reach one server, and its cache.
AFFINITY_HEADER: Final = "x-affinity-key"
#: Answers 200 while there is a server that is ready, for load balancers before the gateway.
HEALTH_PATH: Final = "/healthz"
#: The filter that gives deadlines their details.
DEADLINES: Final = "gateway.deadlines"
_LUA: Final = "envoy.filters.http.lua"
_TRANSCODER: Final = "envoy.filters.http.grpc_json_transcoder"
_CORS: Final = "envoy.filters.http.cors"
# The server ends unary calls after 30 s (`unary_deadline`); this is for a server that hangs.
_UNARY_TIMEOUT: Final = "35s"
# A stream has a message every 2 s (`stream_interval`), and ends within `stream_deadline`, an hour.
_STREAM_IDLE: Final = "30s"
# Longer than unary calls, which are silent until their end.
_GRPC_IDLE: Final = "40s"
_STREAM_LONGEST: Final = "3660s"
_IS_GRPC: Final = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
_ALLOWED_HEADERS: Final = (
    "authorization", "content-type", "grpc-timeout", "traceparent", "tracestate", "x-api-key",
    AFFINITY_HEADER, "x-grpc-web", "x-request-id", "x-user-agent",
)  # fmt: skip
_EXPOSED_HEADERS: Final = (
    "grpc-message", "grpc-retry-pushback-ms", "grpc-status", "grpc-status-details-bin",
    "retry-after", "x-read-units-remaining", "x-request-id",
)  # fmt: skip
# Of gRPC's own protocol: a JSON caller's would be promises that the transcoder does not keep.
_NOT_OF_JSON: Final = ("cookie", "grpc-accept-encoding", "grpc-encoding")
# Answers may hold data that others must not see.
_RESPONSE_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def virtual_host(rules: Sequence[Rule], options: Options) -> dict[str, Any]:
    """Return the virtual host of the listener for JSON, gRPC-Web and gRPC."""
    return {
        "name": "gateway",
        "domains": ["*"],
        "routes": list(_routes(rules, options)),
        "typed_per_filter_config": {_CORS: _cors_policy(options.allow_origins)},
        "response_headers_to_add": list(headers(_RESPONSE_HEADERS)),
    }


def _routes(rules: Sequence[Rule], options: Options) -> Iterator[dict[str, Any]]:
    yield from (_grpc_route(service) for service in service_names())
    yield _unknown_grpc_method()
    yield from (_json_route(rule) for rule in rules)
    if options.reference is not None:
        yield from static_routes(options.reference)
    yield from _preflights(options.allow_origins)
    for regex in dict.fromkeys(rule.regex for rule in rules):
        allowed = sorted({rule.verb.upper() for rule in rules if rule.regex == regex})
        yield _refusal(REFUSALS["METHOD_NOT_ALLOWED"], _path(regex), {"allow": ", ".join(allowed)})
    yield _refusal(REFUSALS["ROUTE_NOT_FOUND"], {"prefix": "/"})


def _grpc_route(service: str) -> dict[str, Any]:
    """Return the route of a service for gRPC and gRPC-Web.

    One timeout suits all of its methods: that of streams. The server ends unary calls itself.
    """
    action = {**_to_servers(), "timeout": "0s", "idle_timeout": _GRPC_IDLE}
    return {
        "match": {"prefix": f"/{service}/", "headers": [_IS_GRPC]},
        "route": action,
        "request_headers_to_remove": ["cookie"],
        **_without_check(),
    }


def _unknown_grpc_method() -> dict[str, Any]:
    """Return the answer to gRPC of other services, such as health, which are the server's own."""
    text = {"inline_string": "there is no such method"}
    return {
        "match": {"safe_regex": {"regex": r"/[\w.]+\.[\w.]+/\w+"}, "headers": [_IS_GRPC]},
        "direct_response": {"status": 404, "body": text},
        **_without_check(),
    }


def _json_route(rule: Rule) -> dict[str, Any]:
    timeout: dict[str, Any] = {"timeout": _UNARY_TIMEOUT}
    if rule.method.server_streaming:
        longest = {"max_stream_duration": _STREAM_LONGEST}
        timeout = {"timeout": "0s", "idle_timeout": _STREAM_IDLE, "max_stream_duration": longest}
    check = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute",
        "filter_context": {"rule": rule.name},
    }
    return {
        "match": _with_method(_path(rule.regex), rule.verb.upper()),
        "route": {**_to_servers(), **timeout},
        "request_headers_to_remove": list(_NOT_OF_JSON),
        "typed_per_filter_config": {_LUA: check},
    }


def _to_servers() -> dict[str, Any]:
    """Return the part of an action that chooses a server.

    Only requests that no server has begun with are tried again: the server has retries of its own.
    """
    kind = "retry.host.previous_hosts.v3.PreviousHostsPredicate"
    not_again = {
        "name": "envoy.retry_host_predicates.previous_hosts",
        "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.{kind}"},
    }
    return {
        "cluster": CLUSTER,
        "hash_policy": [{"header": {"header_name": AFFINITY_HEADER}}],
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream",
            "num_retries": 2,
            "retry_host_predicate": [not_again],
            "host_selection_retry_max_attempts": 5,
        },
    }


def _preflights(origins: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the routes of preflights, which browsers send before calls of another origin.

    The CORS filter answers those of allowed origins. It needs a route to servers for that, which
    they never take.
    """
    preflight = {"name": "access-control-request-method", "present_match": True}
    match = _with_method({"prefix": "/"}, "OPTIONS")
    match["headers"].append(preflight)
    for origin in origins:
        allowed = {"name": "origin", "string_match": {"exact": origin}}
        yield {
            "match": {**match, "headers": [*match["headers"], allowed]},
            "route": {"cluster": CLUSTER},
            **_without_check(),
        }
    yield _refusal(REFUSALS["ORIGIN_NOT_ALLOWED"], match)


def _refusal(
    refusal: Refusal, match: dict[str, Any], extra: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return a route that is answered with a refusal."""
    body = {"inline_string": json.dumps(refusal.body)}
    return {
        "match": match,
        "direct_response": {"status": refusal.http, "body": body},
        "response_headers_to_add": list(headers({"content-type": JSON, **(extra or {})})),
        **_without_check(),
    }


def _without_check() -> dict[str, Any]:
    """Return the part of a route that turns off the filters for JSON."""
    off = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
    return {"typed_per_filter_config": dict.fromkeys((_LUA, _TRANSCODER, DEADLINES), off)}


def _path(regex: str) -> dict[str, Any]:
    return {"safe_regex": {"regex": regex}}


def _with_method(match: dict[str, Any], method: str) -> dict[str, Any]:
    return {**match, "headers": [{"name": ":method", "string_match": {"exact": method}}]}


def _cors_policy(origins: Iterable[str]) -> dict[str, Any]:
    """Return the policy for pages of other origins: without an allowed origin, none may call."""
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": origin} for origin in origins],
        "allow_methods": "GET, POST",
        "allow_headers": ", ".join(_ALLOWED_HEADERS),
        "expose_headers": ", ".join(_EXPOSED_HEADERS),
        "max_age": "600",
    }
