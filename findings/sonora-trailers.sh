#!/usr/bin/env bash
# sonora 0.2.3 (gRPC-Web for Python) with grpcio 1.85.3, its clients for asyncio and for threads.
#
# For asyncio, a unary call that failed is a success if its status stands in the body: it looks for the status in
# the headers alone. gRPC-Web ("PROTOCOL-WEB"): trailers "must be the last message of the response", as part of
# the body, and a proxy has no choice once a server has sent initial metadata. Seen, with the client for threads
# to the right:
#
#     status 5 in the trailers              None               NOT_FOUND
#     a message, 15 in the trailers         the message        DATA_LOSS
#     status 5 in the headers               NOT_FOUND          NOT_FOUND
#     a message, 0 in the trailers          the message        the message
#
# Whether an error is one depends on the metadata that a server sends before it.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check sonora==0.2.3 grpcio==1.85.3 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import struct
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import grpc
import sonora.aio
import sonora.client

MESSAGE = b"an item"
ANSWERS = {
    "/shop.Items/MissingByTrailers": ({}, [(0x80, b"grpc-status: 5\r\n")]),
    "/shop.Items/CutByTrailers": ({}, [(0, MESSAGE), (0x80, b"grpc-status: 15\r\n")]),
    "/shop.Items/MissingByHeaders": ({"grpc-status": "5"}, []),
    "/shop.Items/Found": ({}, [(0, MESSAGE), (0x80, b"grpc-status: 0\r\n")]),
}
EXPECTED = [(None, "NOT_FOUND"), (MESSAGE, "DATA_LOSS"), ("NOT_FOUND", "NOT_FOUND"), (MESSAGE, MESSAGE)]


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        headers, frames = ANSWERS[self.path]
        body = b"".join(struct.pack(">BI", kind, len(data)) + data for kind, data in frames)
        self.send_response(200)
        for name, value in {"content-type": "application/grpc-web+proto", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def unchanged(message):
    return message


async def call_async(url, method):
    async with sonora.aio.insecure_web_channel(url) as channel:
        try:
            return await channel.unary_unary(method, unchanged, unchanged)(b"")
        except grpc.RpcError as error:
            return error.code().name


def call(url, method):
    with sonora.client.insecure_web_channel(url) as channel:
        try:
            return channel.unary_unary(method, unchanged, unchanged)(b"")
        except grpc.RpcError as error:
            return error.code().name


server = HTTPServer(("127.0.0.1", 0), Server)
Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
seen = [(asyncio.run(call_async(url, method)), call(url, method)) for method in ANSWERS]
for method, results in zip(ANSWERS, seen):
    print(method, *results)
sys.exit(seen != EXPECTED)
PYTHON
