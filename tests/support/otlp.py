"""A collector of traces: takes OTLP over HTTP, and keeps the spans."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

#: A tree of spans: the name of each, and the trees below it, by the time of their start.
Tree = tuple[str, tuple["Tree", ...]]


@dataclass
class Collector:
    """The spans that arrived, the bytes that they arrived as, and the resource that sent them."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    resource: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""

    def receive(self, path: str, body: bytes) -> None:
        """Take one request."""
        request = ExportTraceServiceRequest.FromString(body)
        self.path = path
        self.bodies.append(body)
        for sent in request.resource_spans:
            self.resource = values(sent.resource.attributes)
            for scope in sent.scope_spans:
                self.spans += scope.spans

    def clear(self) -> None:
        """Forget all spans."""
        self.spans, self.bodies = [], []

    def named(self, name: str) -> list[Span]:
        """Return the spans of a name, in the order in which they began."""
        return _in_order([span for span in self.spans if span.name == name])

    def calls(self, method: str = "") -> list[Span]:
        """Return the spans of calls, of one method if it is named."""
        kind = Span.SpanKind.SPAN_KIND_SERVER
        found = [span for span in self.spans if span.kind == kind and span.name.endswith(method)]
        return _in_order(found)

    def children(self, parent: Span) -> list[Span]:
        """Return the spans below a span, in the order in which they began."""
        return _in_order([span for span in self.spans if span.parent_span_id == parent.span_id])

    def tree(self, root: Span) -> Tree:
        """Return the names of a span and of all spans below it."""
        return root.name, tuple(self.tree(child) for child in self.children(root))


def _in_order(spans: Sequence[Span]) -> list[Span]:
    return sorted(spans, key=lambda span: span.start_time_unix_nano)


def values(attributes: Any) -> dict[str, Any]:
    """Return attributes as Python's values; arrays are tuples."""
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(one) for one in value.array_value.values)
    return getattr(value, kind)


def is_error(span: Span) -> bool:
    """Return whether the status of a span is that of a failure."""
    return span.status.code == Status.StatusCode.STATUS_CODE_ERROR


@contextmanager
def open_collector() -> Iterator[Collector]:
    """Collect spans at an HTTP address of this machine for the time of the `with`."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Take spans."""
            collector.receive(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="collector", daemon=True)
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
