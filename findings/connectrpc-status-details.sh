#!/usr/bin/env bash
# connectrpc 0.13.0 (Connect, gRPC and gRPC-Web for Python), its client.
#
# Where an error has details, it takes code and message from them alone, and reports UNKNOWN without a message if
# they are not repeated there. "gRPC over HTTP2", Status-Details: "if it contains a status code field, it MUST NOT
# contradict the Status header"; so it need not contain one, and Status and Status-Message always count. Seen, for
# grpc-status 5 and grpc-message "no such item":
#
#     no details                                     NOT_FOUND     no such item
#     details with code 5 and the message            NOT_FOUND     no such item
#     details with an ErrorInfo alone                UNKNOWN       (empty)
#
# Retries and fallbacks by code go wrong as soon as a server adds details.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    connectrpc==0.13.0 googleapis-common-protos==1.76.0 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import struct
import sys
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from connectrpc.client import ConnectClientSync
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.protocol import ProtocolType
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from protobuf.wkt import StringValue

MESSAGE = "no such item"
EXPECTED = [("NOT_FOUND", MESSAGE), ("NOT_FOUND", MESSAGE), ("UNKNOWN", "")]
details = None


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        trailers = f"grpc-status: 5\r\ngrpc-message: {MESSAGE}\r\n"
        if details is not None:
            encoded = b64encode(details.SerializeToString()).decode().rstrip("=")
            trailers += f"grpc-status-details-bin: {encoded}\r\n"
        self.send_response(200)
        self.send_header("content-type", "application/grpc-web+proto")
        self.send_header("content-length", str(len(trailers) + 5))
        self.end_headers()
        self.wfile.write(struct.pack(">BI", 0x80, len(trailers)) + trailers.encode())

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Server)
Thread(target=server.serve_forever, daemon=True).start()
client = ConnectClientSync(f"http://127.0.0.1:{server.server_port}", protocol=ProtocolType.GRPC_WEB)
method = MethodInfo(
    name="Get",
    service_name="shop.Items",
    input=StringValue,
    output=StringValue,
    idempotency_level=IdempotencyLevel.UNKNOWN,
    stream_type=StreamType.UNARY,
)
only_info = Status()
only_info.details.add().Pack(ErrorInfo(reason="GONE"))

seen = []
for details in None, Status(code=5, message=MESSAGE), only_info:
    try:
        client.execute_unary(request=StringValue(value="a"), method=method)
    except ConnectError as error:
        seen.append((error.code.name, error.message))
print(*seen, sep="\n")
sys.exit(seen != EXPECTED)
PYTHON
