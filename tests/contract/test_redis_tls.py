"""Redis behind TLS: which servers and clients are trusted, and the words of refusals."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dynamodb_processor_server.cli.redis_report import report_on_redis
from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.runtime.redis import RedisClient
from dynamodb_processor_server.runtime.redis_url import RedisTls, checked_url
from tests.support.certificates import Certificate, issue
from tests.support.redis_server import RedisServer
from tests.support.redis_topologies import ask
from tests.support.tls_server import tls_in_front_of


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority, and the folder of its certificates."""

    own: Certificate
    folder: Path

    @property
    def file(self) -> Path:
        """The path of its own certificate."""
        return self.own.write(self.folder, "ca")[0]

    def sign(self, name: str, *hosts: str) -> tuple[Path, Path]:
        """Return the paths of a new certificate and its key."""
        return issue(*hosts, issuer=self.own).write(self.folder, name)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that no system knows."""
    return Authority(issue(common_name="tests of Redis"), tmp_path)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisClient]:
    """Open a client, and close it at the end."""
    client = RedisClient(url, 5.0, 2)
    yield client
    await client.close()


async def test_an_access_list_user_is_served_over_tls(
    own_redis: RedisServer, authority: Authority
) -> None:
    """Scripts run without dangerous commands; the own authority verifies the certificate."""
    ask(own_redis, *["ACL", "SETUSER", "ddb", "on", ">hush", "~fleet:*", "+@all", "-@dangerous"])
    async with tls_in_front_of(own_redis.port, *authority.sign("server")) as port:
        url = checked_url(f"rediss://ddb:hush@127.0.0.1:{port}", "fleet:", RedisTls(authority.file))
        async with opened(url) as client:
            script = client.script("return redis.call('INCR', KEYS[1])")
            await client.connect([script])
            assert await client.run(script, (f"fleet:{uuid.uuid4().hex}",), ()) == 1
            with pytest.raises(StoreError, match="refused"):
                await client.run(script, ("other",), ())
        report = await report_on_redis(url, "fleet:")
        assert (report.text, report.ok) == ("ok", True)


async def test_a_server_of_an_unknown_authority_is_not_trusted(
    own_redis: RedisServer, authority: Authority
) -> None:
    """The report has the reason and a remedy."""
    async with tls_in_front_of(own_redis.port, *authority.sign("server")) as port:
        report = await report_on_redis(f"rediss://:hush@127.0.0.1:{port}", "fleet:")
        assert not report.ok
        assert "CERTIFICATE_VERIFY_FAILED" in report.text
        assert "see 'TLS' in docs/operations/redis.md" in report.text
        assert "hush" not in report.text


async def test_a_certificate_of_another_host_is_not_trusted(
    own_redis: RedisServer, authority: Authority
) -> None:
    """Its authority alone does not suffice."""
    async with tls_in_front_of(own_redis.port, *authority.sign("server", "elsewhere")) as port:
        url = checked_url(f"rediss://127.0.0.1:{port}", tls=RedisTls(authority.file))
        async with opened(url) as client:
            with pytest.raises(StoreError) as failed:
                await client.connect([])
            assert "CERTIFICATE_VERIFY_FAILED" in failed.value.words


async def test_a_server_may_require_a_client_certificate(
    own_redis: RedisServer, authority: Authority
) -> None:
    """Clients without one are refused."""
    server = tls_in_front_of(own_redis.port, *authority.sign("server"), authority.file)
    async with server as port:
        with_ca = RedisTls(authority.file)
        async with opened(checked_url(f"rediss://127.0.0.1:{port}", tls=with_ca)) as client:
            with pytest.raises(StoreError, match="unreachable"):
                await client.connect([])
        complete = RedisTls(authority.file, *authority.sign("client"))
        async with opened(checked_url(f"rediss://127.0.0.1:{port}", tls=complete)) as client:
            await client.connect([])
