#!/usr/bin/env bash
# otlp-json 1.0.1 and otlp-proto 0.10.1 (encode spans of OpenTelemetry's SDK 1.45.2 as OTLP).
#
# They write wrong kinds of spans and no links. trace.proto numbers the kinds from 1 (INTERNAL 1, SERVER 2,
# CLIENT 3, PRODUCER 4, CONSUMER 5), the Python API from 0: otlp-json writes the API's numbers, otlp-proto always 1.
# Span.links is a field of OTLP. Seen, with OpenTelemetry's own encoder to the right:
#
#     SDK         otlp-json          otlp-proto         opentelemetry-exporter-otlp-proto-common
#     INTERNAL    1 INTERNAL         1 INTERNAL         1 INTERNAL
#     SERVER      1 INTERNAL         1 INTERNAL         2 SERVER
#     CLIENT      2 SERVER           1 INTERNAL         3 CLIENT
#     PRODUCER    3 CLIENT           1 INTERNAL         4 PRODUCER
#     CONSUMER    4 PRODUCER         1 INTERNAL         5 CONSUMER
#     links       0 of 5             0 of 5             5 of 5
#
# Service maps and request rates, which backends make of SERVER and CLIENT spans, are wrong or empty.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    otlp-json==1.0.1 otlp-proto==0.10.1 opentelemetry-sdk==1.45.2 \
    opentelemetry-exporter-otlp-proto-common==1.45.2 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import json
import sys

import otlp_json
import otlp_proto
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind

EXPECTED = {
    "otlp-json": ([1, 1, 2, 3, 4], 0),
    "otlp-proto": ([1, 1, 1, 1, 1], 0),
    "opentelemetry": ([1, 2, 3, 4, 5], 5),
}

memory = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(memory))
for kind in SpanKind:
    link = Link(SpanContext(trace_id=1, span_id=2, is_remote=True))
    provider.get_tracer("shop").start_span(kind.name, kind=kind, links=[link]).end()
spans = memory.get_finished_spans()

written = json.loads(otlp_json.encode_spans(spans))["resourceSpans"][0]["scopeSpans"][0]["spans"]
seen = {"otlp-json": ([span["kind"] for span in written], sum("links" in span for span in written))}
for name, data in ("otlp-proto", otlp_proto.encode_spans(spans)), ("opentelemetry", None):
    traces = TracesData.FromString(data) if data else encode_spans(spans)
    read = traces.resource_spans[0].scope_spans[0].spans
    seen[name] = ([span.kind for span in read], sum(len(span.links) for span in read))
for name, kinds in seen.items():
    print(name.ljust(14), *kinds)
sys.exit(seen != EXPECTED)
PYTHON
