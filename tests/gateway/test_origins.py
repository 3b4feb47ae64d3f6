"""Pages of other origins may call only if theirs is allowed."""

from __future__ import annotations

from typing import Final

import pytest

from tests.gateway.conftest import ORIGIN
from tests.support.gateway import Answer, Gateway

_QUERY: Final = "/v1/tables/events:query"
_GRPC_WEB: Final = "/dynamodb_processor.v1.QueryService/Query"
_ALLOWED: Final = "access-control-allow-origin"


def _preflight(gateway: Gateway, path: str, origin: str, headers: str = "x-api-key") -> Answer:
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": headers,
        "x-api-key": "",  # Browsers send none with a preflight.
    }
    return gateway.request("OPTIONS", path, headers=asked)


@pytest.mark.parametrize("path", [_QUERY, "/v1/tables", _GRPC_WEB])
def test_a_preflight_of_an_allowed_origin(gateway: Gateway, path: str) -> None:
    """It names the methods and the headers that calls of JSON and of gRPC-Web need."""
    answer = _preflight(gateway, path, ORIGIN)
    assert (answer.status, answer.headers[_ALLOWED]) == (200, ORIGIN)
    assert answer.headers["access-control-allow-methods"] == "GET, POST"
    allowed = set(answer.headers["access-control-allow-headers"].split(", "))
    assert allowed >= {"authorization", "content-type", "grpc-timeout", "x-affinity-key"}
    assert allowed >= {"x-api-key", "x-grpc-web", "x-request-id", "x-user-agent"}
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://elsewhere.example",
        f"{ORIGIN}.elsewhere.example",
        ORIGIN.replace("https", "http"),
        ORIGIN.rpartition(":")[0],
        "null",
    ],
)
@pytest.mark.parametrize("path", [_QUERY, _GRPC_WEB])
def test_a_preflight_of_another_origin(gateway: Gateway, path: str, origin: str) -> None:
    """It is refused with JSON, and without a header that allows anything."""
    answer = _preflight(gateway, path, origin)
    assert answer.refusal == (403, 7, "ORIGIN_NOT_ALLOWED")
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_calls_of_an_allowed_origin_can_be_read(gateway: Gateway) -> None:
    """Answers and refusals alike name the origin, and expose the headers of gRPC's errors."""
    body = {"query": {"expression": "user_id = 'u-1'"}}
    for each, status in ((body, 200), ({"misspelt": 1}, 400)):
        answer = gateway.post(_QUERY, each, {"origin": ORIGIN})
        assert (answer.status, answer.headers[_ALLOWED]) == (status, ORIGIN)
        exposed = set(answer.headers["access-control-expose-headers"].split(", "))
        assert exposed >= {"grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id"}


def test_calls_of_another_origin_cannot_be_read(gateway: Gateway) -> None:
    """The browser shows a page no answer that does not name its origin."""
    body = {"query": {"expression": "user_id = 'u-1'"}}
    answer = gateway.post(_QUERY, body, {"origin": "https://elsewhere.example"})
    assert _ALLOWED not in answer.headers
