#!/usr/bin/env bash
# py-async-grpc-prometheus 0.2.0 and py-grpc-prometheus 0.8.0 (metrics of gRPC servers), with grpcio 1.85.3.
#
# Of methods that answer with a stream, the first counts the successful calls alone as handled and the second
# none. Both implement go-grpc-prometheus, whose grpc_server_handled_total is the "total number of RPCs completed
# on the server, regardless of success or failure", for streams too. Seen, after one call of a stream that ends
# well and one that aborts with NOT_FOUND half-way:
#
#     py-async-grpc-prometheus     started 2     handled 1 OK
#     py-grpc-prometheus           started 2     handled none
#
# A rate of errors of streams is 0 whatever happens, and "started less handled" (calls under way) only grows.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    py-async-grpc-prometheus==0.2.0 py-grpc-prometheus==0.8.0 grpcio==1.85.3 prometheus-client==0.26.0 2>/dev/null

"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from prometheus_client import CollectorRegistry
from py_async_grpc_prometheus.prometheus_async_server_interceptor import PromAsyncServerInterceptor
from py_grpc_prometheus.prometheus_server_interceptor import PromServerInterceptor

EXPECTED = {"async": (2.0, {"OK": 1.0}), "threads": (2.0, {})}


async def stream(request, context):
    yield b"item"
    if request == b"abort":
        await context.abort(grpc.StatusCode.NOT_FOUND, "no further items")


def stream_in_thread(request, context):
    yield b"item"
    if request == b"abort":
        context.abort(grpc.StatusCode.NOT_FOUND, "no further items")


def serve(server, handler):
    method = grpc.unary_stream_rpc_method_handler(handler)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Items", {"List": method})])
    return f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"


def call(address):
    with grpc.insecure_channel(address) as channel:
        for request in b"all", b"abort":
            try:
                list(channel.unary_stream("/shop.Items/List")(request))
            except grpc.RpcError as error:
                print(request.decode(), error.code().name)


async def in_loop(registry):
    server = grpc.aio.server(interceptors=[PromAsyncServerInterceptor(registry=registry)])
    address = serve(server, stream)
    await server.start()
    await asyncio.to_thread(call, address)
    await server.stop(None)


def in_threads(registry):
    server = grpc.server(ThreadPoolExecutor(2), interceptors=[PromServerInterceptor(registry=registry)])
    address = serve(server, stream_in_thread)
    server.start()
    call(address)
    server.stop(None)


def counts(registry):
    samples = [sample for metric in registry.collect() for sample in metric.samples if sample.value]
    started = sum(sample.value for sample in samples if sample.name == "grpc_server_started_total")
    handled = [sample for sample in samples if sample.name == "grpc_server_handled_total"]
    return started, {sample.labels["grpc_code"]: sample.value for sample in handled}


registries = {"async": CollectorRegistry(), "threads": CollectorRegistry()}
asyncio.run(in_loop(registries["async"]))
in_threads(registries["threads"])
seen = {name: counts(registry) for name, registry in registries.items()}
print(seen)
sys.exit(seen != EXPECTED)
PYTHON
