"""Envoy's listener for JSON, gRPC-Web and gRPC: its filters, its bounds and its certificate."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from gateway.descriptors import service_names
from gateway.errors import local_replies
from gateway.options import Address, Options
from gateway.routes import CLUSTER, DEADLINES, HEALTH_PATH, virtual_host
from gateway.rules import Rule
from gateway.schema import deadline_source, filter_source
from gateway.static_files import MAX_FILE_BYTES, static_virtual_host

_EXTENSIONS: Final = "type.googleapis.com/envoy.extensions"
#: The name under which Envoy knows the certificate.
CERTIFICATE: Final = "certificate"
_MIB: Final = 1_048_576
# An answer has at most 4 MB of items; in JSON, binary values take a third more.
_MAX_ANSWER: Final = 32 * _MIB
# gRPC for Python drops calls with more than 16 KiB of metadata, which includes Envoy's own headers.
_MAX_HEADERS_KIB: Final = 14


def http_filter(name: str, kind: str, **config: Any) -> dict[str, Any]:
    """Return an extension of Envoy's with its configuration."""
    return {"name": name, "typed_config": {"@type": f"{_EXTENSIONS}.{kind}", **config}}


def api_listener(
    rules: Sequence[Rule], descriptors: FileDescriptorSet, options: Options
) -> dict[str, Any]:
    """Return the listener for callers."""
    return listener(
        "gateway",
        options.listen,
        virtual_host(rules, options),
        [
            http_filter("envoy.filters.http.cors", "filters.http.cors.v3.Cors"),
            _health(),
            _check(rules),
            http_filter("envoy.filters.http.grpc_web", "filters.http.grpc_web.v3.GrpcWeb"),
            _transcoder(descriptors),
            _deadlines(),
        ],
        options,
    )


def static_listeners(options: Options) -> Iterator[dict[str, Any]]:
    """Yield the listeners of folders with files for browsers."""
    for address, folder in options.static:
        host = static_virtual_host(folder, options.static_connect)
        yield listener(f"static-{address.port}", address, host, [], options)


def listener(
    name: str,
    address: Address,
    host: dict[str, Any],
    filters: Sequence[dict[str, Any]],
    options: Options,
) -> dict[str, Any]:
    """Return a listener with one virtual host; its routes are reached through the filters."""
    manager = http_filter(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        **_manager(name, host, filters, options),
    )
    chain: dict[str, Any] = {"filters": [manager]}
    if options.certificate_file is not None:
        chain["transport_socket"] = _tls(options.certificate_file)
    return {
        "name": name,
        "address": address.envoy,
        "per_connection_buffer_limit_bytes": _MIB,
        "filter_chains": [chain],
    }


def _manager(
    name: str, host: dict[str, Any], filters: Sequence[dict[str, Any]], options: Options
) -> dict[str, Any]:
    """Return the part that speaks HTTP. Slow requests and idle connections end."""
    router = http_filter(
        "envoy.filters.http.router",
        "filters.http.router.v3.Router",
        suppress_envoy_headers=True,
    )
    manager: dict[str, Any] = {
        "stat_prefix": name,
        "codec_type": "AUTO",
        "server_name": "dynamodb-processor",
        "use_remote_address": True,
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "normalize_path": True,
        "merge_slashes": False,
        # The check refuses them, and says why.
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "max_request_headers_kb": _MAX_HEADERS_KIB,
        "request_headers_timeout": "10s",
        "request_timeout": "15s",
        "stream_idle_timeout": "60s",
        "drain_timeout": "5s",
        "delayed_close_timeout": "1s",
        "common_http_protocol_options": {
            "idle_timeout": "300s",
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        # Trailers tell HTTP/1.1 clients that read them how a stream has ended.
        "http_protocol_options": {"enable_trailers": True},
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65_536,
            "initial_connection_window_size": _MIB,
        },
        "route_config": {
            "name": name,
            "virtual_hosts": [host],
            # Files have other headers than answers of the API.
            "most_specific_header_mutations_wins": True,
            "max_direct_response_body_size_bytes": MAX_FILE_BYTES,
        },
        "http_filters": [*filters, router],
        "local_reply_config": local_replies(),
    }
    if options.access_log:
        manager["access_log"] = [_access_log()]
    return manager


def _health() -> dict[str, Any]:
    """Return the answer for load balancers: 200 while a server is ready, else 503."""
    path = {"name": ":path", "string_match": {"exact": HEALTH_PATH}}
    return http_filter(
        "envoy.filters.http.health_check",
        "filters.http.health_check.v3.HealthCheck",
        pass_through_mode=False,
        headers=[path],
        cluster_min_healthy_percentages={CLUSTER: {"value": 1}},
    )


def _check(rules: Sequence[Rule]) -> dict[str, Any]:
    """Return the filter that checks JSON requests, before the transcoder sees them."""
    return http_filter(
        "envoy.filters.http.lua",
        "filters.http.lua.v3.Lua",
        default_source_code={"inline_string": filter_source(rules)},
    )


def _transcoder(descriptors: FileDescriptorSet) -> dict[str, Any]:
    content = descriptors.SerializeToString(deterministic=True)
    return http_filter(
        "envoy.filters.http.grpc_json_transcoder",
        "filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        proto_descriptor_bin=base64.b64encode(content).decode(),
        services=list(service_names()),
        convert_grpc_status=True,
        # Otherwise the route of gRPC would be taken, without the timeout of this one.
        match_incoming_request_route=True,
        max_request_body_size=_MIB,
        max_response_body_size=_MAX_ANSWER,
        print_options={
            "always_print_primitive_fields": True,
            "stream_newline_delimited": True,
        },
        request_validation_options={
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": True,
            "reject_binding_body_field_collisions": False,
        },
    )


def _deadlines() -> dict[str, Any]:
    """Return the filter that completes errors of deadlines before they are transcoded."""
    return http_filter(
        DEADLINES,
        "filters.http.lua.v3.Lua",
        default_source_code={"inline_string": deadline_source()},
    )


def _tls(file: Path) -> dict[str, Any]:
    """Return TLS towards callers, with the certificate that `certificate_secret` has named."""
    source = {
        "name": CERTIFICATE,
        "sds_config": {
            "resource_api_version": "V3",
            "path_config_source": {"path": str(file)},
        },
    }
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificate_sds_secret_configs": [source],
            },
        },
    }


def certificate_secret(certificate: Path, key: Path) -> dict[str, Any]:
    """Return the file through which Envoy finds a certificate, and notices that it was replaced."""
    secret = {
        "@type": f"{_EXTENSIONS}.transport_sockets.tls.v3.Secret",
        "name": CERTIFICATE,
        "tls_certificate": {
            "certificate_chain": {"filename": str(certificate)},
            "private_key": {"filename": str(key)},
            "watched_directory": {"path": str(certificate.parent)},
        },
    }
    return {"resources": [secret]}


def _access_log() -> dict[str, Any]:
    """Return a log of requests, without their query strings, which may hold page tokens."""
    fields = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ)%",
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS(SNAKE_STRING)%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "milliseconds": "%DURATION%",
        "server": "%UPSTREAM_HOST%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    }
    return http_filter(
        "envoy.access_loggers.stdout",
        "access_loggers.stream.v3.StdoutAccessLog",
        log_format={"json_format": fields},
    )
