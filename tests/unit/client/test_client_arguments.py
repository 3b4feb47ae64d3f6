"""Tests that callers' arguments are checked before a call; each error names the argument."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from dynamodb_processor_client import Budget, CachePolicy, DeadlineExceeded, Query, QueryClient
from tests.support.fake_service import FakeService

_HALF = "\ud800"  # half a surrogate pair
_WRONG_ARGUMENTS: list[tuple[str, Any, str]] = [
    ("table", None, "table is a string, not None"),
    ("table", 5, "table is a string, not 5"),
    ("table", _HALF, "table: half a surrogate pair is no character"),
    ("expression", _HALF, "expression: half a surrogate pair is no character"),
    ("parameters", "s", "parameters is a mapping from name to value, not 's'"),
    ("parameters", [("s", 1)], "parameters is a mapping"),
    ("parameters", {1: 2}, "a name in parameters is a string, not 1"),
    ("parameters", {"s": Decimal("NaN")}, ":s: DynamoDB has no number NaN"),
    ("parameters", {"s": [{"t": 1.5}]}, ":s: a float is inexact"),
    ("parameters", {"s": [_HALF]}, ":s: half a surrogate pair is no character"),
    ("parameters", {"s": {_HALF: 1}}, ":s: half a surrogate pair is no character"),
    ("index", 0, "index is a string, not 0"),
    ("index", b"x", "index is a string, not b'x'"),
    ("descending", "no", "descending is True or False, not 'no'"),
    ("consistent", "false", "consistent is True or False, not 'false'"),
    ("projection", "a", "projection takes a list of paths, not 'a'"),
    ("projection", 5, "projection takes a list of paths, not 5"),
    ("projection", ["a", 5], "projection[1] is a string, not 5"),
    ("max_items", "5", "max_items is a whole number, not '5'"),
    ("max_items", True, "max_items is a whole number, not True"),
    ("max_items", Decimal(3), "max_items is a whole number"),
    ("max_items", 2**63, "max_items is at most 9223372036854775807"),
]
_WRONG_OPTIONS: list[tuple[str, Any, str]] = [
    ("page_size", 2.0, "page_size is a whole number, not 2.0"),
    ("page_size", 2**31, "page_size is at most 2147483647"),
    ("page_token", 5, "page_token is a string, not 5"),
    ("budget", 5, "budget is a Budget, not 5"),
    ("budget", {}, "budget is a Budget, not {}"),
    ("cache", "BYPASS", "cache is a CachePolicy, not 'BYPASS'"),
    ("total", 2**70, "a total is at most 9223372036854775807"),
    ("timeout", "5", "timeout is a number, not '5'"),
    ("timeout", timedelta(seconds=1), "total_seconds() gives the seconds"),
    ("timeout", math.nan, "timeout is a number, not nan"),
]


@pytest.mark.parametrize(("argument", "value", "reason"), _WRONG_ARGUMENTS)
def test_an_argument_of_a_query(argument: str, value: Any, reason: str) -> None:
    """The error for a wrong argument of a query names it and the values that it takes."""
    with pytest.raises((TypeError, ValueError), match=re.escape(reason)) as caught:
        Query(**{"table": "numbers", argument: value})
    assert type(caught.value) in (TypeError, ValueError)


@pytest.mark.parametrize(("option", "value", "reason"), _WRONG_OPTIONS)
async def test_an_option_of_a_call(
    client: QueryClient, service: FakeService, option: str, value: Any, reason: str
) -> None:
    """The error for a wrong option names it and the values that it takes; nothing is sent."""
    with pytest.raises((TypeError, ValueError), match=re.escape(reason)) as caught:
        await client.query(Query("numbers"), **{option: value})
    assert type(caught.value) in (TypeError, ValueError)
    assert not _asked(service)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (None, "get() takes a list of keys, not None"),
        ([{"n": 1}, None], "keys[1]: a key is a mapping from attribute to value, not None"),
        ([{1: 2}], "keys[0]: a name in a key is a string, not 1"),
        ([{"n": 1}, {"n": 1.5}], "keys[1]: n: a float is inexact"),
    ],
)
async def test_keys(client: QueryClient, service: FakeService, keys: Any, reason: str) -> None:
    """An invalid key is named by its index, before any key is sent."""
    with pytest.raises((TypeError, ValueError), match=re.escape(reason)):
        await client.get("numbers", keys)
    assert not _asked(service)


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("max_scanned_items", 0),
        ("max_scanned_items", -1),
        ("max_scanned_items", "5"),
        ("max_scanned_items", True),
        ("max_read_units", 0),
        ("max_read_units", math.nan),
        ("max_read_units", "5"),
        ("max_duration", timedelta()),
        ("max_duration", timedelta(seconds=-1)),
        ("max_duration", 5),
    ],
)
def test_a_budget_of_zero(limit: str, value: Any) -> None:
    """A budget of 0 or less is refused: streams and counts would continue without a limit."""
    with pytest.raises((TypeError, ValueError), match=limit):
        Budget(**{limit: value})


def test_a_staleness_of_another_type() -> None:
    """A staleness must be a `timedelta`."""
    with pytest.raises(TypeError, match="max_staleness is a timedelta, not 5"):
        CachePolicy(max_staleness=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not_before is a datetime, not 5"):
        CachePolicy(not_before=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"not_before has no time zone; datetime\.now\(UTC\) has"):
        CachePolicy(not_before=datetime(2026, 1, 31))  # noqa: DTZ001 - the error
    for edge in ("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"):
        with pytest.raises(ValueError, match="outside of the years 1 to 9999 in UTC"):
            CachePolicy(not_before=datetime.fromisoformat(edge))
    with pytest.raises(TypeError, match="not_before_token is a string, not None"):
        CachePolicy(not_before_token=None)  # type: ignore[arg-type]


def _asked(service: FakeService) -> list[object]:
    return [
        *service.requests,
        *service.stream_requests,
        *service.count_requests,
        *service.batch_requests,
        *service.explain_requests,
    ]


def _asks(client: QueryClient, timeout: float) -> dict[str, Callable[[], Any]]:
    return {
        "query": lambda: client.query(Query("numbers"), page_size=1, timeout=timeout),
        "pages": lambda: anext(client.pages(Query("numbers"), page_size=1, timeout=timeout)),
        "stream": lambda: anext(client.stream(Query("numbers"), page_size=1, timeout=timeout)),
        "count": lambda: client.count(Query("numbers"), timeout=timeout),
        "get": lambda: client.get("numbers", [{"n": 1}], timeout=timeout),
        "explain": lambda: client.explain(Query("numbers"), timeout=timeout),
    }


@pytest.mark.parametrize("method", ["query", "pages", "stream", "count", "get", "explain"])
async def test_endless_timeouts(client: QueryClient, method: str) -> None:
    """A timeout beyond the range of gRPC means no deadline, not one that has passed."""
    for timeout in (math.inf, 1e300, 2**70, 1e9):
        await _asks(client, timeout)[method]()


@pytest.mark.parametrize("method", ["query", "pages", "stream", "count", "get", "explain"])
async def test_timeouts_of_zero_or_less(
    client: QueryClient, service: FakeService, method: str
) -> None:
    """With no time left nothing is sent, although gRPC would take 0 for no limit."""
    for timeout in (0, 0.0, -1):
        with pytest.raises(DeadlineExceeded):
            await _asks(client, timeout)[method]()
    assert not _asked(service)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (None, "target is a string, not None"),
        (5, "target is a string, not 5"),
        ("", "target is HOST:PORT"),
        (" 127.0.0.1:1", "target is HOST:PORT"),
        ("http://127.0.0.1:50051", "without http:// or https://"),
        ("HTTPS://example.com", "without http:// or https://"),
        ("127.0.0.1:50051/", "without a path"),
        ("127.0.0.1:99999", "a number from 1 to 65535, not '99999'"),
        ("localhost:abc", "a number from 1 to 65535, not 'abc'"),
        ("[::1]:", "a number from 1 to 65535, not ''"),
        (_HALF, "target: half a surrogate pair"),
    ],
)
def test_invalid_targets(target: Any, reason: str) -> None:
    """An invalid address is refused when the client is made."""
    with pytest.raises((TypeError, ValueError), match=re.escape(reason)):
        QueryClient(target)


@pytest.mark.parametrize(
    "target",
    [
        "localhost",
        "a:1",
        "[::1]:50051",
        "::1",
        "dns:a:1",
        "dns:///a:1",
        "unix:x",
        "unix:/x/",
        "ipv4:10.0.0.1:5,10.0.0.2:5",
        "xds:///service",
    ],
)
def test_valid_targets(target: str) -> None:
    """Every form of target that gRPC supports is accepted."""
    QueryClient(target)


@pytest.mark.parametrize(
    "argument", [{"api_key": 5}, {"api_key": b"x"}, {"credentials": "x"}, {"resume": 5}]
)
def test_other_arguments_of_a_client(argument: dict[str, Any]) -> None:
    """An argument of another type is refused by its name when the client is made."""
    (name,) = argument
    with pytest.raises(TypeError, match=name):
        QueryClient("localhost:1", **argument)


async def test_a_client_opened_twice(client: QueryClient) -> None:
    """An open client cannot be opened again: the inner exit would close it for the outer."""
    with pytest.raises(RuntimeError, match="open already"):
        await client.__aenter__()
    await client.query(Query("numbers"), page_size=1)


def test_a_client_of_another_loop() -> None:
    """A client on another event loop raises a clear error, and can still be closed."""
    client = QueryClient("127.0.0.1:1")
    asyncio.run(_open(client))

    async def ask() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            await client.query(Query("numbers"))
        with pytest.raises(RuntimeError, match="another event loop"):
            client.stream(Query("numbers"))
        await client.__aexit__(None, None, None)

    asyncio.run(ask())


async def _open(client: QueryClient) -> None:
    await client.__aenter__()
