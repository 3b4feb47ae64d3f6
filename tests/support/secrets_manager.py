"""AWS Secrets Manager for tests: moto's, and one that refuses or hangs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import boto3
from aiohttp import web
from moto.server import ThreadedMotoServer

from tests.support.backends import REGION

#: The variable of AWS's libraries for the address of another Secrets Manager.
ENDPOINT: Final = "AWS_ENDPOINT_URL_SECRETS_MANAGER"


class SecretsManagerServer:
    """A Secrets Manager at `url`, and its secrets."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client: Any = boto3.client(
            "secretsmanager",
            region_name=REGION,
            endpoint_url=url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def create(self, name: str, text: str | None = None) -> str:
        """Create a secret, and return its ARN; without a text it has no version."""
        value = {} if text is None else {"SecretString": text}
        return str(self._client.create_secret(Name=name, **value)["ARN"])

    def put(self, name: str, content: str | bytes) -> None:
        """Put a new current version, as text or as binary data."""
        kind = "SecretString" if isinstance(content, str) else "SecretBinary"
        self._client.put_secret_value(SecretId=name, **{kind: content})

    def get(self, name: str) -> str:
        """Return the current version."""
        return str(self._client.get_secret_value(SecretId=name)["SecretString"])

    def versions(self, name: str) -> int:
        """Return the number of versions."""
        return len(self._client.list_secret_version_ids(SecretId=name)["Versions"])

    def delete(self, name: str) -> None:
        """Delete a secret; it can be restored for some days."""
        self._client.delete_secret(SecretId=name)

    def restore(self, name: str) -> None:
        """Restore a deleted secret."""
        self._client.restore_secret(SecretId=name)

    def close(self) -> None:
        """Close the client."""
        self._client.close()


@contextmanager
def open_secrets_manager() -> Iterator[SecretsManagerServer]:
    """Run moto's Secrets Manager."""
    moto = ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    server = SecretsManagerServer(f"http://{host}:{port}")
    yield server
    server.close()
    moto.stop()


@asynccontextmanager
async def refusing_server(code: str, status: int = 400) -> AsyncIterator[str]:
    """Run a server that answers each request with an error of AWS; yield its URL."""

    async def refuse(_: web.Request) -> web.Response:
        body = json.dumps({"__type": code, "Message": "User: arn:aws:iam::1:user/x"})
        return web.Response(status=status, text=body, content_type="application/x-amz-json-1.1")

    app = web.Application()
    app.router.add_post("/", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()
