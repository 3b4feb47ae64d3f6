"""A small AWS: the metadata of an instance, STS, and a DynamoDB without tables or items."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from aiohttp import web

FAR_FUTURE: Final = "2099-01-01T00:00:00Z"
ROLE: Final = "arn:aws:iam::123456789012:role/reader"

_XMLNS: Final = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
_SIGNATURE: Final = re.compile(r"Credential=(\w+)/\d+/([\w-]+)/(\w+)/")
_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_SOURCES: Final = (
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error of STS."""

    code: str
    status: int = 400


def _open() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


@dataclass
class Aws:
    """The behaviour of AWS, and the access key and region of each request it received.

    DynamoDB treats the key `expired` as expired. Metadata wait for `gate`, which is open unless a
    test closes it.
    """

    url: str = ""
    metadata: bool = True
    refusal: Refusal | None = None
    expiration: str = FAR_FUTURE
    expired: str = ""
    gate: asyncio.Event = field(default_factory=_open)
    asked: dict[str, list[tuple[str, str]]] = field(
        default_factory=lambda: {"sts": [], "dynamodb": []}
    )

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        body = await request.text()
        if request.path.startswith("/latest/"):
            await self.gate.wait()
            return self._tell_metadata(request.path)
        signature = _SIGNATURE.search(request.headers.get("authorization", ""))
        key, region, service = signature.groups() if signature else ("", "", "sts")
        self.asked[service].append((key, region))
        if service == "sts":
            return self._take_on_role(body)
        if key == self.expired:
            kind = "com.amazon.coral.service#ExpiredTokenException"
            return web.json_response({"__type": kind}, status=400)
        return web.json_response({"TableNames": [], "Items": [], "ScannedCount": 0})

    def _tell_metadata(self, path: str) -> web.Response:
        if not self.metadata:
            return web.Response(status=503)
        if not path.endswith("/instance"):
            return web.Response(text="instance" if path.endswith("/") else "a token")
        return web.json_response(
            {
                "Code": "Success",
                "AccessKeyId": "INSTANCE",
                "SecretAccessKey": "secret",
                "Token": "token",
                "Expiration": FAR_FUTURE,
            }
        )

    def _take_on_role(self, body: str) -> web.Response:
        if self.refusal is not None:
            text = f"<Error><Code>{self.refusal.code}</Code><Message>why</Message></Error>"
            text = f"<ErrorResponse {_XMLNS}>{text}</ErrorResponse>"
            return web.Response(status=self.refusal.status, text=text)
        [operation] = re.findall(r"Action=(\w+)", body)
        text = (
            "<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/reader/x</Arn>"
            "<AssumedRoleId>A:x</AssumedRoleId></AssumedRoleUser><Credentials>"
            "<AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>"
            f"<SessionToken>token</SessionToken><Expiration>{self.expiration}</Expiration>"
            "</Credentials>"
        )
        text = f"<{operation}Result>{text}</{operation}Result>"
        return web.Response(text=f"<{operation}Response {_XMLNS}>{text}</{operation}Response>")


@asynccontextmanager
async def open_aws(patch: pytest.MonkeyPatch) -> AsyncIterator[Aws]:
    """Run a small AWS for the time of the `async with`; botocore finds it and no other one."""
    aws = Aws()
    runner = web.ServerRunner(web.Server(aws.handle), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        aws.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        forget_credentials(patch)
        patch.delenv("AWS_EC2_METADATA_DISABLED")
        patch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws.url)
        patch.setenv("AWS_ENDPOINT_URL_STS", aws.url)
        yield aws
    finally:
        aws.gate.set()
        await runner.cleanup()


def forget_credentials(patch: pytest.MonkeyPatch) -> None:
    """Remove all credentials that botocore could find, the tests' and the developer's."""
    take_key(patch)
    for name in _SOURCES:
        patch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        patch.setenv(name, "/nonexistent")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def give_key(patch: pytest.MonkeyPatch, key: str) -> None:
    """Put an access key into the environment, where botocore finds it."""
    patch.setenv("AWS_ACCESS_KEY_ID", key)
    patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def take_key(patch: pytest.MonkeyPatch) -> None:
    """Remove the access key from the environment."""
    for name in _KEYS:
        patch.delenv(name, raising=False)


async def list_tables(client: Any) -> Any:
    """Send DynamoDB a request."""
    return await client.list_tables()
