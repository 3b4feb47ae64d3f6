#!/usr/bin/env bash
# opentelemetry-instrumentation-grpc 0.66b2 (traces gRPC servers), with grpcio 1.85.3 and grpc.aio.
#
# Its server interceptor records calls that failed as code 0 with the span's status unset, unless the handler used
# abort() or set_code(). Semantic conventions for gRPC: rpc.grpc.status_code is "the numeric status code of the gRPC
# request", and a server's span has status Error for UNKNOWN and DEADLINE_EXCEEDED. Seen, with the code that the
# client got to the left:
#
#     abort()                  NOT_FOUND            5    UNSET
#     abort_with_status()      NOT_FOUND            0    UNSET
#     an exception             UNKNOWN              0    UNSET
#     past the deadline        DEADLINE_EXCEEDED    0    UNSET
#
# Servers with error details (abort_with_status is the way to send them) show no errors in their traces.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    opentelemetry-instrumentation-grpc==0.66b2 opentelemetry-sdk==1.45.2 grpcio==1.85.3 grpcio-status==1.85.3 2>/dev/null

"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import asyncio
import sys

import grpc
from google.rpc.status_pb2 import Status
from grpc_status.rpc_status import to_status
from opentelemetry.instrumentation.grpc import aio_server_interceptor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

EXPECTED = {
    "abort": ("NOT_FOUND", 5, "UNSET"),
    "abort_with_status": ("NOT_FOUND", 0, "UNSET"),
    "raise": ("UNKNOWN", 0, "UNSET"),
    "sleep": ("DEADLINE_EXCEEDED", 0, "UNSET"),
}
memory = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(memory))


async def answer(request, context):
    if request == b"abort":
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such item")
    if request == b"abort_with_status":
        await context.abort_with_status(to_status(Status(code=5, message="no such item")))
    if request == b"raise":
        raise KeyError("item")
    await asyncio.sleep(60)


async def main():
    method = grpc.unary_unary_rpc_method_handler(answer)
    server = grpc.aio.server(interceptors=[aio_server_interceptor(tracer_provider=provider)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Items", {"Get": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    seen = {}
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for request in EXPECTED:
            try:
                await channel.unary_unary("/shop.Items/Get")(request.encode(), timeout=2)
            except grpc.aio.AioRpcError as error:
                while not memory.get_finished_spans():
                    await asyncio.sleep(0.05)
                (span,) = memory.get_finished_spans()
                memory.clear()
                recorded = span.attributes["rpc.grpc.status_code"]
                seen[request] = (error.code().name, recorded, span.status.status_code.name)
    await server.stop(None)
    for request, line in seen.items():
        print(request.ljust(18), *line)
    return seen


sys.exit(asyncio.run(main()) != EXPECTED)
PYTHON
