"""Wrong requests are refused with JSON that names the field, the reason and the remedy."""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Final

import pytest

from tests.support.gateway import Answer, Gateway
from tests.support.lengths import PATIENCE

_QUERY: Final = "/v1/tables/events:query"
_INVALID: Final = (400, 3, "INVALID_REQUEST")
_NOT_FOUND: Final = (404, 5, "ROUTE_NOT_FOUND")
_WRONG_METHOD: Final = (405, 12, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("method", "path", "refusal", "allow"),
    [
        ("GET", "/", _NOT_FOUND, None),
        ("GET", "/v1", _NOT_FOUND, None),
        ("GET", "/v1/tables/", _NOT_FOUND, None),
        ("GET", "/v1/tables/a/b", _NOT_FOUND, None),
        ("POST", "/v1/tables/events:drop", _NOT_FOUND, None),
        ("POST", "/v1/tables/a%2fb:query", _INVALID, None),
        ("POST", "/v1/tables/a%zz:query", _INVALID, None),
        ("POST", "/v1/tables/a%ff:query", _INVALID, None),
        ("POST", "/v1/tables/:query", _NOT_FOUND, None),
        ("POST", "/dynamodb_processor.v1.QueryService/Query", _NOT_FOUND, None),
        ("POST", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", _NOT_FOUND, None),
        ("GET", _QUERY, _WRONG_METHOD, "POST"),
        ("PUT", _QUERY, _WRONG_METHOD, "POST"),
        ("DELETE", "/v1/tables/events", _WRONG_METHOD, "GET"),
        ("POST", "/v1/tables", _WRONG_METHOD, "GET"),
        ("OPTIONS", "/v1/cache", _WRONG_METHOD, "GET"),
    ],
)
def test_an_unknown_route_or_method(
    gateway: Gateway, method: str, path: str, refusal: tuple[int, int, str], allow: str | None
) -> None:
    """A path that does not exist is 404; one that has another method is 405, and names it."""
    answer = gateway.request(method, path, {} if method in {"POST", "PUT"} else None)
    assert answer.refusal == refusal
    assert answer.headers.get("allow") == allow


@pytest.mark.parametrize("slash", ["%2f", "%2F", "%5c", "%5C"])
def test_a_name_with_an_escaped_slash(gateway: Gateway, slash: str) -> None:
    """The refusal says what is wrong; in a query string such a sign is a part of the value."""
    for answer in (
        gateway.get(f"/v1/tables/a{slash}b"),
        gateway.post(f"/v1/tables/a{slash}..{slash}b:query", {}),
    ):
        assert answer.refusal == _INVALID
        ((_, problem),) = answer.violations.items()
        assert problem.startswith("has a slash in the path (%2F or %5C), and no name has one")
    other = gateway.get(f"/v1/tables?page_size=a{slash}b")
    assert other.violations.keys() == {"page_size"}


@pytest.mark.parametrize(
    ("path", "violations"),
    [
        ("/v1/tables?pagesize=1", {"pagesize": "page_size, page_token"}),
        ("/v1/tables/events?table=x", {"table": "which has none"}),
        ("/v1/tables?page_size=x", {"page_size": "must be a whole number, is x"}),
        ("/v1/tables?page_size=", {"page_size": "must be a whole number, is empty"}),
        ("/v1/tables?pageSize=1&page_size=2", {"page_size": "is there twice"}),
        ("/v1/tables?page_size=2147483648", {"page_size": "is outside of 32 bits"}),
        ("/v1/tables?page_token=%ff", {"query string": "percent-encoded UTF-8"}),
        ("/v1/cache?table=events", {"table": "which has none"}),
    ],
)
def test_a_wrong_query_parameter(gateway: Gateway, path: str, violations: dict[str, str]) -> None:
    """Query parameters that a route does not have, or whose value does not fit, are refused."""
    answer = gateway.get(path)
    assert answer.refusal == _INVALID
    _assert_violations(answer, violations)


def test_a_query_parameter_of_a_post(gateway: Gateway) -> None:
    """A POST takes its fields from the body alone."""
    answer = gateway.post(f"{_QUERY}?page_size=1", {})
    assert answer.refusal == _INVALID
    _assert_violations(answer, {"page_size": "is not a query parameter of this route"})


_VALUE: Final = 'must be an object with the type and the value, such as {"s": "text"}'
_TIME: Final = 'must be a time such as "2026-01-31T12:00:00Z"'
_NO_TIMES: Final = (
    "now", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31 12:00:00Z", "2026-1-31T12:00:00Z",
    "2026-02-29T12:00:00Z", "1900-02-29T12:00:00Z", "2026-13-01T12:00:00Z", "0000-01-01T00:00:00Z",
    "2026-01-31T24:00:00Z", "2026-01-31T12:60:00Z", "2026-01-31T12:00:60Z", "2026-01-31T12:00:00.Z",
    "2026-01-31T12:00:00.0000000001Z", "2026-01-31T12:00:00+24:00", "2026-01-31T12:00:00+1:00",
)  # fmt: skip
_QUOTES: Final = "is not below 2^53, where JSON numbers are rounded: write it in quotes"


@pytest.mark.parametrize(
    ("body", "violations"),
    [
        ({"query": {"max_itmes": 5}}, {"query.max_itmes": "QuerySpec, which has table, expr"}),
        ({"pageSise": 5}, {"pageSise": "is not a field of QueryRequest, which has query, "}),
        ({"query": {"parameters": {"u": {"string": "x"}}}},
         {"query.parameters['u'].string": "is not a field of AttributeValue, which has s, n, b"}),
        ({"budget": {"maxItems": 1}, "cache": {"ttl": 1}},
         {"budget.maxItems": "is not a field of Budget", "cache.ttl": "CachePolicy"}),
        ({"query": {"order": "DOWN"}}, {"query.order": "DOWN is not one of: ORDER_UNSPECIFIED, "}),
        ({"query": {"order": 7}}, {"query.order": "7 is not one of: "}),
        ({"query": {"order": True}}, {"query.order": "must be the name of a value in quotes"}),
        ('{"query": {"maxItems": 9007199254740993}}', {"query.max_items": _QUOTES}),
        ('{"query": {"maxItems": -9007199254740992}}', {"query.max_items": _QUOTES}),
        ('{"query": {"maxItems": 1e300}}', {"query.max_items": _QUOTES}),
        ({"query": {"maxItems": "9223372036854775808"}}, {"query.max_items": "64 bits"}),
        ({"query": {"maxItems": 1.5}}, {"query.max_items": "must be a whole number, is 1.5"}),
        ({"query": {"maxItems": "1.0"}}, {"query.max_items": "must be a whole number, is 1.0"}),
        ({"query": {"maxItems": []}}, {"query.max_items": "must be a whole number"}),
        ({"pageSize": 2147483648}, {"page_size": "is outside of 32 bits: 2147483648"}),
        ({"pageSize": "many"}, {"page_size": "must be a whole number, is many"}),
        ('{"budget": {"maxReadUnits": 1e999}}', {"budget.max_read_units": "is too large: 1e999"}),
        ('{"budget": {"maxReadUnits": 9007199254740993}}', {"budget.max_read_units": _QUOTES}),
        ({"budget": {"maxReadUnits": "a few"}}, {"budget.max_read_units": "must be a number"}),
        ({"budget": {"maxDuration": "5"}}, {"budget.max_duration": 'must be seconds with an "s"'}),
        ({"budget": {"maxDuration": 5}}, {"budget.max_duration": "must be seconds in quotes"}),
        ({"cache": {"notBefore": 5}}, {"cache.not_before": "must be a time in quotes, such as"}),
        *(({"cache": {"notBefore": time}}, {"cache.not_before": f"{_TIME}, is {time}"})
          for time in _NO_TIMES),
        ({"query": {"parameters": {"u": {"b": "a b"}}}},
         {"query.parameters['u'].b": "must be base64: A-Z, a-z, 0-9"}),
        ({"query": {"parameters": {"u": {"b": "YWJjZ"}}}},
         {"query.parameters['u'].b": "must be base64, but its end is missing"}),
        ({"query": {"parameters": {"u": {"b": "YQ="}}}}, {"query.parameters['u'].b": "missing"}),
        ({"query": {"parameters": {"u": {"bs": {"values": ["YQ==", "+_8="]}}}}},
         {"query.parameters['u'].bs.values[1]": "must be base64"}),
        ({"query": {"parameters": {"u": {"n": 12}}}},
         {"query.parameters['u'].n": "must be text in quotes"}),
        ({"query": {"parameters": {"u": "x"}}}, {"query.parameters['u']": _VALUE}),
        ({"query": {"parameters": {"u": None}}}, {"query.parameters['u']": _VALUE}),
        ({"query": {"parameters": [{"s": "x"}]}}, {"query.parameters": "must be an object"}),
        ({"query": {"projection": "seq"}}, {"query.projection": "must be a list"}),
        ({"query": {"projection": ["seq", None]}}, {"query.projection[1]": "must be text in"}),
        ({"query": {"parameters": {"u": {"bool": "true"}}}},
         {"query.parameters['u'].bool": "must be true or false"}),
        ({"query": {"parameters": {"u": {"s": "x", "n": "1"}}}},
         {"query.parameters['u'].n": "cannot be beside s: only one of them is allowed"}),
        ('{"pageSize": 1, "page_size": 2}', {"page_size": "is there twice"}),
        ('{"query": {"parameters": {"u": {"s": "a"}, "u": {"s": "b"}}}}',
         {"query.parameters": "has u twice"}),
        ({"query": "user_id = 'u-1'"}, {"query": "must be an object"}),
    ],
    ids=str,
)  # fmt: skip
def test_a_body_that_does_not_fit_the_contract(
    gateway: Gateway, body: Any, violations: dict[str, str]
) -> None:
    """No field is ignored, rounded or guessed: each violation names the field and its remedy."""
    answer = gateway.post(_QUERY, body)
    assert answer.refusal == _INVALID
    _assert_violations(answer, violations)


def _assert_violations(answer: Answer, expected: dict[str, str]) -> None:
    assert answer.violations.keys() == expected.keys()
    for name, part in expected.items():
        assert part in answer.violations[name]
        assert f"{name}: {answer.violations[name]}"[:700] in answer.json["message"]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("", "line 1, byte 1: the body is empty; it must be a JSON object, at least {}"),
        ("  ", "line 1, byte 3: the body is empty"),
        ("[]", "line 1, byte 1: the body must be a JSON object"),
        ("{", "line 1, byte 2: a name in double quotes is expected here"),
        ('{"query": {},\n "pageSize": 1,}', "line 2, byte 16: a name in double quotes"),
        ('{"pageSize": 1} {}', "line 1, byte 17: the body must end here"),
        ('{"pageSize" 1}', "line 1, byte 13: a colon is expected here"),
        ('{"pageSize": 1 "query": {}}', "line 1, byte 16: a comma or } is expected here"),
        ('{"query": {"projection": ["a" "b"]}}', "line 1, byte 31: a comma or ] is expected here"),
        ('{"pageSize": 01}', "line 1, byte 14: a number does not begin with 0"),
        ('{"pageSize": NaN}', "line 1, byte 14: a JSON value is expected here"),
        ("{'pageSize': 1}", "line 1, byte 2: a name in double quotes"),
        ('{"pageToken": "a', "line 1, byte 15: this string does not end"),
        ('{"pageToken": "a\tb"}', "line 1, byte 17: control characters in strings"),
        ('{"pageToken": "\\x"}', "line 1, byte 16: this escape sequence does not exist"),
        ('{"pageToken": "\\ud800"}', "line 1, byte 16: half of a surrogate pair"),
        ('{"pageToken": "\\ud800\\u0041"}', "half of a surrogate pair"),
        ('{"pageToken": "\\udc00"}', "half of a surrogate pair"),
        (b'{"pageToken": "\xff"}', "line 1, byte 16: this byte is not UTF-8"),
        (b'{"pageToken": "\xc0\xaf"}', "line 1, byte 16: this byte is not UTF-8"),
        (b'{"pageToken": "\xed\xa0\x80"}', "line 1, byte 16: this byte is not UTF-8"),
        (b"\xef\xbb\xbf{}", "line 1, byte 1: the body must be a JSON object"),
    ],
)
def test_a_body_that_is_no_json(gateway: Gateway, body: str | bytes, fault: str) -> None:
    """The refusal names the line, the byte and the fault."""
    answer = gateway.post(_QUERY, body)
    assert answer.refusal == _INVALID
    _assert_violations(answer, {"body": fault})


def test_at_most_twenty_violations_are_listed(gateway: Gateway) -> None:
    """The others are counted, as in the server's own errors; long names are cut."""
    body = {f"{number}{'ü' * 100}": 1 for number in range(25)}
    answer = gateway.post(_QUERY, body)
    assert len(answer.violations) == 20
    assert len(answer.json["message"].encode()) <= 810
    few = gateway.post(_QUERY, {"query": {f"f{number}": 1 for number in range(22)}})
    assert len(few.violations) == 20


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": ""},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-encoding": "gzip"},
    ],
    ids=str,
)
def test_another_content_type(gateway: Gateway, headers: dict[str, str]) -> None:
    """Only JSON is accepted, and not compressed."""
    assert gateway.post(_QUERY, "{}", headers).refusal == (415, 3, "UNSUPPORTED_MEDIA_TYPE")


def test_grpc_on_a_route_of_json(gateway: Gateway) -> None:
    """A caller that says it speaks gRPC gets the refusal as gRPC has it, and reaches no server."""
    answer = gateway.post(_QUERY, "{}", {"content-type": "application/grpc"})
    assert answer.headers["content-type"] == "application/grpc"
    assert answer.headers["grpc-status"] != "0"


def test_a_charset_beside_the_content_type(gateway: Gateway) -> None:
    """A parameter of the content type makes no difference."""
    body = {"query": {"expression": "user_id = 'u-1'"}}
    answer = gateway.post(_QUERY, body, {"content-type": "Application/JSON; charset=utf-8"})
    assert answer.status == 200


def test_a_body_over_its_bound(gateway: Gateway) -> None:
    """1 MiB for queries and 128 KiB for the cache, with and without a length beforehand."""
    too_large = (413, 3, "REQUEST_TOO_LARGE")
    assert gateway.post(_QUERY, " " * 1_048_577).refusal == too_large
    assert gateway.post("/v1/tables/events:invalidateCache", " " * 131_073).refusal == too_large
    head = f"POST {_QUERY} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    chunk = f"{0x10000:x}\r\n{' ' * 0x10000}\r\n"
    chunked = f"{head}transfer-encoding: chunked\r\n\r\n{chunk * 20}0\r\n\r\n"
    assert _raw(gateway, chunked.encode()).startswith("HTTP/1.1 413 ")


def test_a_get_with_a_body(gateway: Gateway) -> None:
    """A body that nothing would read is refused."""
    assert gateway.request("GET", "/v1/tables", {}).refusal == _INVALID


def test_headers_that_are_wrong(gateway: Gateway) -> None:
    """A malformed deadline, and more headers than the server accepts."""
    timeout = gateway.get("/v1/tables", **{"grpc-timeout": "soon"})
    assert timeout.refusal == _INVALID
    large = gateway.get("/v1/tables", **{"x-filler": "x" * 20_000})
    assert large.refusal == (431, 3, "HEADERS_TOO_LARGE")


def test_a_request_that_is_not_http(gateway: Gateway) -> None:
    """The refusal is JSON, although nothing of the request is known."""
    answer = _raw(gateway, b"GET /v1/tables HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n")
    assert answer.startswith("HTTP/1.1 400 ")
    assert "content-type: application/json" in answer
    assert '"reason":"INVALID_REQUEST"' in answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /v1/tables HTTP/1.0\r\nhost: x", 426),
        ("GET /v1/tables HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket", 403),
        (f"POST {_QUERY} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip", 501),
    ],
)
def test_http_of_another_kind(gateway: Gateway, head: str, status: int) -> None:
    """Versions, upgrades and codings that the gateway does not have are refused with JSON."""
    answer = _raw(gateway, f"{head}\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert "content-type: application/json" in answer
    assert '"reason":"INVALID_REQUEST"' in answer


def test_a_json_request_cannot_pass_for_grpc(gateway: Gateway) -> None:
    """The transcoder passes gRPC on unchecked; on the routes of JSON there is none."""
    answer = gateway.request("GET", "/v1/tables", headers={"content-type": "application/grpc"})
    assert [each["name"] for each in answer.json["tables"]] == ["copies", "events", "flights"]


def _raw(gateway: Gateway, request: bytes) -> str:
    host, _, port = gateway.address.rpartition(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        with contextlib.suppress(OSError):  # The gateway may close before it has read everything.
            connection.sendall(request)
        with contextlib.suppress(ConnectionResetError):
            return connection.recv(65_536).decode()
    return ""


@pytest.mark.parametrize("name", ["x^y", "^", "it's", "x-data-bin", "grpc-tags-bin"])
def test_a_header_that_grpc_does_not_have_is_dropped(gateway: Gateway, name: str) -> None:
    """HTTP allows more names than gRPC, and has no base64 where a name ends with -bin."""
    assert gateway.get("/v1/tables", **{name: "!"}).status == 200
