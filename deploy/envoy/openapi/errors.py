"""Error responses: `google.rpc.Status` in JSON, with the details and reasons that are used."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import Descriptor
from google.rpc import code_pb2, error_details_pb2

from gateway.errors import REFUSALS
from openapi.schemas import Schema, Schemas, component_name

_PAGE: Final = Path(__file__).parents[3] / "docs" / "reference" / "errors.md"
_ROW: Final = re.compile(
    r"^\| \[`([A-Z_]+)`\]\(#[a-z_]+\) \| `([A-Z_]+)` \| (\S.*) \|$", re.MULTILINE
)
_PREFIX: Final = "type.googleapis.com/"
#: The details that errors have: see docs/reference/errors.md.
_DETAILS: Final[Sequence[Descriptor]] = tuple(
    error_details_pb2.DESCRIPTOR.message_types_by_name[name]
    for name in ("ErrorInfo", "BadRequest", "PreconditionFailure", "QuotaFailure", "RetryInfo")
)
#: HTTP's status for each of gRPC's codes, as google/rpc/code.proto says and Envoy answers.
HTTP_STATUSES: Final[Mapping[str, int]] = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason of `ErrorInfo`: its HTTP status, gRPC code and the caller's next step."""

    name: str
    http: int
    code: str
    advice: str


def reasons() -> Iterator[Reason]:
    """Yield the reasons of the service, as its page lists them, and those of the gateway."""
    for name, code, advice in _ROW.findall(_PAGE.read_text(encoding="utf-8")):
        yield Reason(name, HTTP_STATUSES[code], code, f"Retry: {advice}.")
    for refusal in REFUSALS.values():
        code = code_pb2.Code.Name(refusal.code)
        yield Reason(refusal.reason, refusal.http, code, f"From the gateway: {refusal.message}.")


def status_schema(schemas: Schemas) -> Schema:
    """Return the schema of a `google.rpc.Status`, and add those of the details in it."""
    kinds = [_detail(schemas, kind) for kind in _DETAILS]
    return {
        "type": "object",
        "description": "A `google.rpc.Status`, the body of every error. Programs should read "
        "`code` and the `reason` of the `ErrorInfo`; `message` is for people and may change.",
        "required": ["code", "message"],
        "properties": {
            "code": {
                "type": "integer",
                "format": "int32",
                "description": "The number of a `google.rpc.Code`, such as 3 for INVALID_ARGUMENT.",
            },
            "message": {"type": "string", "description": "A text for people."},
            "details": {
                "type": "array",
                "description": "The reason, and more about the error.",
                "items": {"anyOf": kinds},
            },
        },
    }


def _detail(schemas: Schemas, kind: Descriptor) -> Schema:
    """Return a reference to a detail's schema, which has the property `@type`."""
    reference = schemas.reference(kind)
    schema = schemas.components[component_name(kind)]
    schema["properties"] = {"@type": {"const": _PREFIX + kind.full_name}, **schema["properties"]}
    schema["required"] = ["@type"]
    return reference


def responses(examples: Mapping[int, Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return the response of each HTTP status of an error.

    Args:
        examples: Examples of bodies, by HTTP status and name.
    """
    by_status: dict[int, list[Reason]] = defaultdict(list)
    for reason in reasons():
        by_status[reason.http].append(reason)
    return {
        status: _response(status, by_status[status], examples.get(status, {}))
        for status in sorted(by_status)
    }


def _response(status: int, found: Sequence[Reason], examples: Mapping[str, Any]) -> dict[str, Any]:
    rows = [f"| `{each.name}` | `{each.code}` | {each.advice} |" for each in found]
    head = [f"{HTTPStatus(status).phrase}.", "", "| reason | code | remark |", "|---|---|---|"]
    content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Status"}}
    own = {
        refusal.reason: {"summary": f"From the gateway: {refusal.reason}", "value": refusal.body}
        for refusal in REFUSALS.values()
        if refusal.http == status
    }
    if shown := {**examples, **own}:
        content["examples"] = shown
    return {"description": "\n".join([*head, *rows]), "content": {"application/json": content}}


def response_name(status: int) -> str:
    """Return the name of the component with the response of an HTTP status."""
    return re.sub(r"\W", "", HTTPStatus(status).phrase.title())
