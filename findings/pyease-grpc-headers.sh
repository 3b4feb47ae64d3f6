#!/usr/bin/env bash
# pyease-grpc 1.8.0 (a gRPC-Web client for Python).
#
# It leaves the message of an error encoded and writes timeouts that no server has to read. "gRPC over HTTP2":
# Status-Message is percent-encoded and is to be decoded; a timeout is "a positive integer as ASCII string of at
# most 8 digits" and a unit. Seen, against a server that answers "no%20item%20%22caf%C3%A9%22":
#
#     details()         " no%20item%20%22caf%C3%A9%22"       right: no item "café"
#     timeout 0.05      grpc-timeout 50000000n               right
#     timeout 30        grpc-timeout 30000000000n            right: 30S, 30000m ...
#
# A server that keeps to the grammar refuses every timeout of 0.1 s and more (connectrpc does, as invalid_argument),
# and a person reads escapes.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyease-grpc==1.8.0 protobuf==6.33.2 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import struct
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from pyease_grpc import Protobuf, RpcSession, RpcUri

EXPECTED = [
    (" no%20item%20%22caf%C3%A9%22", "50000000n"),
    (" no%20item%20%22caf%C3%A9%22", "30000000000n"),
]
TRAILERS = b"grpc-status: 5\r\ngrpc-message: no%20item%20%22caf%C3%A9%22\r\n"
timeouts = []


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        timeouts.append(self.headers["grpc-timeout"])
        body = struct.pack(">BI", 0x80, len(TRAILERS)) + TRAILERS
        self.send_response(200)
        self.send_header("content-type", "application/grpc-web+proto")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


file = FileDescriptorProto(name="shop.proto", package="shop", syntax="proto3")
file.message_type.add(name="Item")
service = file.service.add(name="Items")
service.method.add(name="Get", input_type=".shop.Item", output_type=".shop.Item")
session = RpcSession(Protobuf(FileDescriptorSet(file=[file])))
server = HTTPServer(("127.0.0.1", 0), Server)
Thread(target=server.serve_forever, daemon=True).start()
uri = RpcUri(f"http://127.0.0.1:{server.server_port}", package="shop", service="Items", method="Get")

seen = []
for timeout in 0.05, 30:
    try:
        list(session.request(uri, {}, timeout=timeout).iter_payloads())
    except Exception as error:
        seen.append((error.details(), timeouts[-1]))
print(*seen, sep="\n")
sys.exit(seen != EXPECTED)
PYTHON
