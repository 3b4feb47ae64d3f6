"""Signatures are those of botocore's signer."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any

import botocore.auth
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from dynamodb_processor_server.dynamodb.endpoints import _request, _signing_target
from dynamodb_processor_server.dynamodb.sigv4 import CONTENT_TYPE, Signer

ADDRESSES = (
    "https://dynamodb.eu-west-1.amazonaws.com",
    "https://123456789012.ddb.us-east-1.amazonaws.com",
    "https://vpce-1.dynamodb.eu-west-1.vpce.amazonaws.com:443",
    "http://127.0.0.1:8000",
    "http://[::1]:8000/",
    "https://Proxy.example:8443/pre fix/./a%20b//~c?x=1&b=&a=%2F",
)
OPERATIONS = ("Query", "Scan", "GetItem", "BatchGetItem", "GetRecords")
REQUESTS = 10_000


def characters(random: Random, length: int) -> str:
    """Return text of printable ASCII, blanks among it, as secrets may be."""
    return "".join(chr(random.randrange(32, 127)) for _ in range(length))


def test_ten_thousand_random_requests_are_signed_as_by_botocore(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Credentials, session tokens, days, bodies, addresses and regions vary between requests."""
    random = Random(15)
    signers: dict[Any, Signer] = {}
    several = [
        ReadOnlyCredentials(
            f"AKIA{number}", characters(random, 40), random.choice((None, characters(random, 200)))
        )
        for number in range(20)
    ]
    instant = datetime(2026, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: instant)
    for _ in range(REQUESTS):
        credentials: Any = random.choice(several)
        address, region = random.choice(ADDRESSES), random.choice(("eu-west-1", "us-gov-west-1"))
        body = random.randbytes(random.randrange(300))
        target = f"DynamoDB_20120810.{random.choice(OPERATIONS)}"
        instant = datetime.fromtimestamp(random.randrange(1_700_000_000, 1_900_000_000), UTC)
        http = _request(address)
        signer = signers.setdefault(
            (address, region), Signer(_signing_target(http, region, "dynamodb"))
        )
        ours = signer.headers(credentials, target, body, instant.timestamp() + random.random())
        request = AWSRequest(
            "POST",
            http.url,
            headers={"X-Amz-Target": target, "Content-Type": CONTENT_TYPE, "User-Agent": "any"},
            data=body,
        )
        SigV4Auth(credentials, "dynamodb", region).add_auth(request)
        theirs = dict(request.headers)
        assert ours == {name: theirs[name] for name in ours}
        assert ours.keys() | {"Content-Type", "User-Agent"} == theirs.keys()
