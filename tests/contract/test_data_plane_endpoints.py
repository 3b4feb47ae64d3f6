"""Requests of the data plane have the endpoints of botocore and a corrected clock."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

import pytest
from botocore.exceptions import NoRegionError
from structlog.testing import capture_logs

from dynamodb_processor_server.dynamodb import credentials as credentials_module
from dynamodb_processor_server.dynamodb.clients import Clients, ClientSettings
from tests.contract.compared_clients import (
    QUERY,
    WHOLE,
    Pair,
    error_body,
    local,
    open_pair,
    result_of,
    without_attempts,
)
from tests.support.dynamodb import REGION
from tests.support.raw_http import RawServer, Received, response

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _refused_until(count: int, theirs: datetime) -> Any:
    body = error_body("InvalidSignatureException")
    refusal = response(body, 400, date=format_datetime(theirs, usegmt=True))
    return lambda requests: refusal if len(requests) <= count else response(WHOLE)


def _time(request: Received) -> datetime:
    return datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


async def test_a_wrong_clock_is_corrected_once(server: RawServer) -> None:
    """Later requests have the corrected time; one that is refused all the same is not repeated."""
    theirs = datetime.now(UTC) + timedelta(hours=2)
    server.answer = _refused_until(1, theirs)
    async with Clients(ClientSettings(endpoint_url=local(server), region=REGION)) as clients:
        client = await clients.client()
        assert (await client.query(**QUERY))["Count"] == 1
        await client.query(**QUERY)
        first, *later = map(_time, server.requests)
        assert theirs - first > timedelta(hours=1.9)
        assert all(abs(theirs - each) < timedelta(minutes=2) for each in later)
        server.requests.clear()
        server.answer = _refused_until(9, theirs)
        error = await result_of(client.query(**QUERY))
    assert error.response["Error"]["Code"] == "InvalidSignatureException"
    assert len(server.requests) == 1


async def test_a_wrong_clock_is_corrected_for_all_requests_at_once(server: RawServer) -> None:
    """Requests that were signed before the correction are repeated as well; it is made once."""
    theirs = datetime.now(UTC) - timedelta(hours=2)
    refusal = _refused_until(1, theirs)([])

    def answer(requests: list[Received]) -> bytes:
        is_right = abs(theirs - _time(requests[-1])) < timedelta(minutes=2)
        return response(WHOLE) if is_right else refusal

    server.answer = answer
    async with Clients(ClientSettings(endpoint_url=local(server), region=REGION)) as clients:
        client = await clients.client()
        with capture_logs() as logged:
            answers = await asyncio.gather(*(client.query(**QUERY) for _ in range(10)))
    assert [one["Count"] for one in answers] == [1] * 10
    assert [line["event"] for line in logged] == ["clock_skew_corrected"]


@pytest.mark.parametrize("date", [{}, {"date": "yesterday"}, {"date": "Mon, 99 Jan"}])
async def test_a_refused_signature_without_a_time_is_not_sent_again(
    peer: RawServer, pair: Pair, date: dict[str, str]
) -> None:
    """So is one whose time is right: the reason is another one, such as a wrong secret."""
    peer.answer = response(error_body("InvalidSignatureException"), 400, **date)
    ours, plain = await pair.results("query", **QUERY)
    assert ours.response == without_attempts(plain.response)
    assert len(peer.requests) == 2


async def _addresses(pair: Pair, **request: Any) -> tuple[str, str]:
    """Return the address and scope of signatures, as we and as botocore resolve them."""
    seen: list[Any] = []

    def stop(request: Any, **_: Any) -> None:
        seen.append(request)
        raise ConnectionRefusedError

    pair.plain.meta.events.register("before-send.dynamodb.*", stop)
    error = await result_of(pair.plain.query(**request))
    pair.plain.meta.events.unregister("before-send.dynamodb.*", stop)
    credentials = await pair.ours._credentials.get_frozen_credentials()
    try:
        endpoint = await pair.ours._endpoints.resolve("Query", request, credentials.account_id)
    except Exception as refused:  # noqa: BLE001 - compared by the test
        return repr(refused), repr(error)
    signed = endpoint.signer.headers(credentials, "x", b"", 0.0)["Authorization"]
    theirs = seen[0].headers["Authorization"].decode()
    return (
        f"{endpoint.destination.url} {signed.partition('/')[2].partition(',')[0][8:]}",
        f"{seen[0].url} {theirs.partition('/')[2].partition(',')[0][8:]}",
    )


_DUAL: Final = {"AWS_USE_DUALSTACK_ENDPOINT": "true"}
_FIPS: Final = {"AWS_USE_FIPS_ENDPOINT": "true"}
_PRIVATE: Final = "https://vpce-1.dynamodb.eu-west-1.vpce.amazonaws.com"


@pytest.mark.parametrize(
    ("region", "environment"),
    [
        ("eu-west-1", {}),
        ("us-gov-west-1", _FIPS),
        ("us-gov-west-1", {"AWS_ACCOUNT_ID": "123456789012"}),
        ("cn-north-1", _DUAL),
        ("local", {}),
        ("us-east-1", _DUAL),
        ("us-east-1", _FIPS),
        ("us-east-1", _DUAL | _FIPS),
        ("eu-west-1", {"AWS_ENDPOINT_URL_DYNAMODB": _PRIVATE}),
        ("eu-west-1", {"AWS_ENDPOINT_URL": "http://[::1]:8000/prefix"}),
        ("eu-west-1", {"AWS_ACCOUNT_ID": "123456789012"}),
        (
            "eu-west-1",
            {"AWS_ACCOUNT_ID": "123456789012", "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"},
        ),
        ("eu-west-1", {"AWS_ACCOUNT_ID_ENDPOINT_MODE": "required"}),
    ],
    ids=str,
)
async def test_endpoints_are_those_of_botocore(
    monkeypatch: pytest.MonkeyPatch, region: str, environment: dict[str, str]
) -> None:
    """Its rules know accounts, dual-stack, FIPS, private endpoints and tables named by ARN."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    arn = f"arn:aws:dynamodb:{region}:210987654321:table/t"
    async with open_pair(None, region) as pair:
        for table in ("t", arn, "t", arn):  # resolved, and remembered
            ours, plain = await _addresses(pair, TableName=table)
            assert ours == plain


async def test_another_account_has_another_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that are loaded again may be of another account."""
    monkeypatch.setattr(credentials_module, "_RENEWAL_SECONDS", 0.0)
    async with Clients(ClientSettings(region=REGION)) as clients:
        client = await clients.client()
        for account in ("123456789012", "210987654321"):
            monkeypatch.setenv("AWS_ACCOUNT_ID", account)
            clients.renew_credentials()
            async with open_pair(None) as fresh:
                ours, plain = await _addresses(replace(fresh, ours=client), TableName="t")
            assert ours == plain
            assert ours.startswith(f"https://{account}.ddb.")


async def test_no_region_is_the_error_of_botocore(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint does not replace it: the region is part of every signature."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    with pytest.raises(NoRegionError):
        async with open_pair(local(server), None) as pair:
            await pair.ours.query(**QUERY)
    assert server.requests == []
