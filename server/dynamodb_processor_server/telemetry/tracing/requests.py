"""Spans of requests to DynamoDB: one for each attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.trace import Span, SpanKind

from dynamodb_processor_server.dynamodb.backend import (
    Attempt,
    Content,
    Request,
    RequestTarget,
    read_units,
)
from dynamodb_processor_server.dynamodb.error_classification import BackendFailure
from dynamodb_processor_server.dynamodb.table_stats import TableStats
from dynamodb_processor_server.telemetry.exemplars import Exemplars
from dynamodb_processor_server.telemetry.tracing.spans import Spans, fail


def traced_attempts(spans: Spans, exemplars: Exemplars) -> Callable[[Attempt], Attempt]:
    """Return a decorator that gives each attempt a span, and its duration an exemplar.

    Requests outside calls, such as the regular descriptions of tables, have none.
    """

    def around(attempt: Attempt) -> Attempt:
        async def traced(
            request: Request, target: RequestTarget, stats: TableStats, number: int
        ) -> Content | BackendFailure:
            name, attributes = f"DynamoDB.{target.operation}", _attributes(target, number)
            with spans.child(name, SpanKind.CLIENT, attributes) as span:
                clock = asyncio.get_running_loop().time
                began = clock()
                outcome = await attempt(request, target, stats, number)
                if span.is_recording():
                    exemplars.note(target.table, clock() - began)
                    _describe(span, outcome)
            return outcome

        return traced

    return around


def _attributes(target: RequestTarget, number: int) -> dict[str, Any]:
    """Return the attributes of a request before it is made; none has a value of a key."""
    attributes = {
        "db.system.name": "aws.dynamodb",
        "db.operation.name": target.operation,
        "dynamodb_processor.table": target.table,
        "aws.dynamodb.table_names": (target.physical,),
        "cloud.region": target.region,
        "aws.dynamodb.index_name": target.index_name,
        "http.request.resend_count": number - 1 or None,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _describe(span: Span, outcome: Content | BackendFailure) -> None:
    """Record the answer to a request: its cost and its id, or the failure."""
    if not isinstance(outcome, BackendFailure):
        _identify(span, outcome)
        span.set_attribute("dynamodb_processor.read_units", read_units(outcome))
        for name, member in (("count", "Count"), ("scanned_count", "ScannedCount")):
            if member in outcome:
                span.set_attribute(f"aws.dynamodb.{name}", outcome[member])
        return
    cause = outcome.error.__cause__ or outcome.error
    answer = getattr(cause, "response", None)  # of botocore's ClientError
    code = ""
    if isinstance(answer, Mapping):
        _identify(span, answer)
        code = str(answer.get("Error", {}).get("Code", ""))
    if code:
        span.set_attribute("db.response.status_code", code)
    fail(span, code or outcome.kind)


def _identify(span: Span, answer: Mapping[str, Any]) -> None:
    """Record the id that DynamoDB has given the request, and the status of its answer."""
    metadata = answer.get("ResponseMetadata", {})
    for name, member in (
        ("aws.request_id", "RequestId"),
        ("http.response.status_code", "HTTPStatusCode"),
    ):
        if value := metadata.get(member):
            span.set_attribute(name, value)
