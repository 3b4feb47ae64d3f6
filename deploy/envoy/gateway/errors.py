"""Refusals of the gateway itself: `google.rpc.Status` as JSON, as the server's errors are."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

#: The domain of the server's own errors.
DOMAIN: Final = "dynamodb-processor"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A kind of refusal: HTTP's status, gRPC's code, and a text for callers."""

    reason: str
    http: int
    code: int
    message: str

    @property
    def body(self) -> dict[str, Any]:
        """The body, a `google.rpc.Status` with an `ErrorInfo`."""
        info = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": self.reason,
            "domain": DOMAIN,
        }
        return {"code": self.code, "message": self.message, "details": [info]}


def _refusal(reason: str, http: int, code: str, message: str) -> Refusal:
    return Refusal(reason, http, code_pb2.Code.Value(code), message)


_ALL: Final = (
    _refusal("INVALID_REQUEST", 400, "INVALID_ARGUMENT", "the request is not valid HTTP"),
    _refusal("ORIGIN_NOT_ALLOWED", 403, "PERMISSION_DENIED",
             "pages of this origin may not call the gateway: it needs --allow-origin"),
    _refusal("ROUTE_NOT_FOUND", 404, "NOT_FOUND",
             "there is no such route: see docs/guide/http.md for all of them"),
    _refusal("METHOD_NOT_ALLOWED", 405, "UNIMPLEMENTED",
             "this route has another method: the header `allow` names it"),
    _refusal("REQUEST_TIMEOUT", 408, "DEADLINE_EXCEEDED",
             "the request did not arrive completely in time: send it at once"),
    _refusal("REQUEST_TOO_LARGE", 413, "INVALID_ARGUMENT",
             "the body is larger than this route allows: split the request"),
    _refusal("UNSUPPORTED_MEDIA_TYPE", 415, "INVALID_ARGUMENT",
             "the header content-type must be application/json"),
    _refusal("HEADERS_TOO_LARGE", 431, "INVALID_ARGUMENT",
             "the headers are larger than the gateway allows"),
    _refusal("INTERNAL", 500, "INTERNAL", "the gateway failed"),
    _refusal("BAD_UPSTREAM_ANSWER", 502, "UNAVAILABLE",
             "the server's answer broke off: try again"),
    _refusal("UPSTREAM_UNAVAILABLE", 503, "UNAVAILABLE",
             "no server can be reached: try again later"),
    _refusal("UPSTREAM_TIMEOUT", 504, "DEADLINE_EXCEEDED",
             "the server did not answer in time: narrow the query"),
)  # fmt: skip
REFUSALS: Final[Mapping[str, Refusal]] = {refusal.reason: refusal for refusal in _ALL}

# Such as HTTP/1.0, and upgrades to WebSocket.
_OTHER: Final = _refusal(
    "INVALID_REQUEST", 400, "INVALID_ARGUMENT", "only HTTP/1.1 and HTTP/2 are accepted, no upgrades"
)
# The reason of the server's own error, whose details get lost if gRPC is first to see the deadline.
_DEADLINE: Final = _refusal(
    "DEADLINE_EXCEEDED", 504, "DEADLINE_EXCEEDED",
    "the deadline passed before the server answered: allow more time, or narrow the query",
)  # fmt: skip
_FORBIDDEN: Final = 403  # Also of refused upgrades, which have nothing to do with origins.

#: Where the filter that checks requests notes that a refusal is its own.
CHECK_METADATA: Final = "gateway.check"


def deadline_status() -> str:
    """Return the value of `grpc-status-details-bin` for a deadline that gRPC itself has ended."""
    detail = AnyMessage()
    detail.Pack(ErrorInfo(reason=_DEADLINE.reason, domain=DOMAIN))
    status = Status(code=_DEADLINE.code, message=_DEADLINE.message, details=[detail])
    return base64.b64encode(status.SerializeToString(deterministic=True)).decode()


def _is_json() -> dict[str, Any]:
    """Return a filter of requests that are not gRPC: those have no JSON in their errors.

    The transcoder makes a gRPC request of a JSON one, and keeps its method in a header.
    """
    grpc = {
        "name": "content-type",
        "string_match": {"prefix": "application/grpc"},
        "treat_missing_header_as_empty": True,
        "invert_match": True,
    }
    transcoded = {"name": "x-envoy-original-method", "present_match": True}
    return {
        "or_filter": {"filters": [{"header_filter": {"header": h}} for h in (grpc, transcoded)]}
    }


def _has_status(status: int, op: str = "EQ") -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": f"gateway.local_reply.{status}"}
    return {"status_code_filter": {"comparison": {"op": op, "value": value}}}


def _own() -> dict[str, Any]:
    """Return the mapper that leaves refusals of the filter that checks requests as they are."""
    path = {"filter": CHECK_METADATA, "path": [{"key": "refused"}], "value": {"bool_match": True}}
    return {
        "filter": {"metadata_filter": {"matcher": path, "match_if_key_not_found": False}},
        "body_format_override": {
            "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"},
            "content_type": JSON,
        },
    }


def _mapper(refusal: Refusal, status: dict[str, Any]) -> dict[str, Any]:
    """Return the mapper that replaces Envoy's own refusals of a status."""
    return {
        "filter": {"and_filter": {"filters": [status, _is_json()]}},
        "body_format_override": {"json_format": refusal.body},
        "headers_to_add": list(headers({"content-type": JSON})),
    }


def local_replies() -> dict[str, Any]:
    """Return the configuration that turns Envoy's own refusals into JSON."""
    known = [_mapper(each, _has_status(each.http)) for each in _ALL if each.http != _FORBIDDEN]
    preflight = {"name": "access-control-request-method", "present_match": True}
    origin = _mapper(REFUSALS["ORIGIN_NOT_ALLOWED"], {"header_filter": {"header": preflight}})
    return {"mappers": [_own(), *known, origin, _mapper(_OTHER, _has_status(400, "GE"))]}


def headers(values: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield response headers that replace those of the same name."""
    for name, value in values.items():
        header = {"key": name, "value": value}
        yield {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
