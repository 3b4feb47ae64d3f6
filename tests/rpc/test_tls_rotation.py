"""Tests that certificates are replaced while calls are made, and that wrong ones are not."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio

from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from tests.rpc.data import VIKTOR, events_catalog
from tests.rpc.logged import Logged
from tests.rpc.tls_world import REPORTS, TlsWorld, entry, secure_channel
from tests.support.certificates import Certificate, issue, presented_serial, replace_file
from tests.support.lengths import PATIENCE
from tests.support.running import Service, eventually, make_key, open_service, query_spec, refused
from tests.support.scraping import metric

_SPEC: Final = query_spec("events", "user_id = :u", parameters={"u": VIKTOR})
_CALLS_PER_SECOND: Final = 200
_CALLERS: Final = 8


@pytest.fixture
def world(tmp_path: Path) -> TlsWorld:
    """The certificates of a test, which it changes."""
    return TlsWorld(tmp_path / "tls")


@pytest_asyncio.fixture
async def service(
    tmp_path: Path, dynamodb_local: str, events: str, world: TlsWorld
) -> AsyncIterator[Service]:
    """A server that requires client certificates, and asks clients to reconnect all the time."""
    async with open_service(
        tmp_path,
        dynamodb_local,
        events_catalog(events),
        [make_key("keyed")],
        certificates=[entry("reports", f"URI:{REPORTS}")],
        connect=world.connect(world.client()),
        max_connection_age=0.2,
        metrics_listen="127.0.0.1:0",
        **world.mutual,
    ) as running:
        yield running


def _call(channel: grpc.aio.Channel) -> Any:
    return QueryServiceStub(channel).Query(QueryRequest(query=_SPEC), timeout=PATIENCE)


async def presented(service: Service) -> int:
    """Return the serial number of the certificate that the server presents to a new connection."""
    return await asyncio.to_thread(presented_serial, service.app.address)


@dataclass
class Load:
    """Callers that call at a pace; `channels` may be replaced meanwhile."""

    channels: list[grpc.aio.Channel]
    answered: int = 0
    failures: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Call until cancelled."""
        began = time.monotonic()
        numbers = itertools.count()

        async def repeat() -> None:
            for number in numbers:
                await asyncio.sleep(began + number / _CALLS_PER_SECOND - time.monotonic())
                try:
                    await _call(self.channels[number % len(self.channels)])
                except grpc.aio.AioRpcError as error:
                    self.failures.append(f"{error.code().name}: {error.details()}")
                else:
                    self.answered += 1

        await asyncio.gather(*(repeat() for _ in range(_CALLERS)))

    async def more(self, calls: int = 60) -> None:
        """Wait until so many more calls were answered."""
        wanted = self.answered + calls
        await eventually(lambda: self.answered >= wanted or self.failures)


async def test_rotations_under_load_fail_no_call(
    service: Service, world: TlsWorld, logged: Logged
) -> None:
    """200 calls a second go on while server certificate, client CA and API keys are replaced.

    The client CA is replaced as an operator has to do it: the new one is added, then the clients
    get new certificates, then the old one is removed.
    """
    old_client, next_authority = world.client(), issue(common_name="next authority")
    new_client = world.client(issuer=next_authority)

    def channels(client: Certificate) -> list[grpc.aio.Channel]:
        return [secure_channel(service.app.address, world.authority, client) for _ in range(4)]

    def reloads() -> int:
        return logged.text.count('"config_file_reloaded"')

    async def reloaded(change: Callable[[], object]) -> None:
        before = reloads()
        change()
        await eventually(lambda: reloads() > before)

    load = Load(channels(old_client))
    running = asyncio.ensure_future(load.run())
    began = time.monotonic()
    used = list(load.channels)
    await load.more()
    serials = {await presented(service)}
    for _ in range(5):
        await reloaded(lambda: world.server().write(world.folder, "server"))
        serials.add(await presented(service))
        await load.more()
    await reloaded(lambda: world.trust_clients_of(world.authority, next_authority))
    await load.more()
    load.channels = channels(new_client)
    used += load.channels
    await load.more()
    await reloaded(lambda: world.trust_clients_of(next_authority))
    await load.more()
    await reloaded(
        lambda: service.write_keys(
            make_key("other"), certificates=[entry("reports", f"URI:{REPORTS}")]
        )
    )
    await load.more()
    running.cancel()
    await asyncio.wait((running,))
    seconds = time.monotonic() - began
    print(f"\n{load.answered} calls in {seconds:.1f} s, {len(load.failures)} failed, 8 rotations")
    assert load.failures == []
    assert len(serials) == 6
    async with secure_channel(service.app.address, world.authority, old_client) as channel:
        assert (await refused(_call(channel))).code is grpc.StatusCode.UNAVAILABLE
    for channel in used:
        await channel.close()


def _half_written(world: TlsWorld) -> str:
    new = world.server()
    replace_file(world.certificate, new.pem[:-80])
    return "tls_certificate: is cut off"


def _certificate_without_its_key(world: TlsWorld) -> str:
    replace_file(world.certificate, world.server().pem)
    return "tls_key: is not the key of tls_certificate"


def _expired(world: TlsWorld) -> str:
    world.server(days=(-9, -2)).write(world.folder, "server")
    return "tls_certificate: expired at"


def _unreadable(world: TlsWorld) -> str:
    world.key.unlink()
    return "tls_key: cannot be read: No such file or directory"


def _no_key(world: TlsWorld) -> str:
    replace_file(world.key, b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    return "tls_key: is damaged"


def _no_client_ca(world: TlsWorld) -> str:
    replace_file(world.client_ca, b"")
    return "tls_client_ca: has no certificate"


@pytest.mark.parametrize(
    "change",
    [_half_written, _certificate_without_its_key, _expired, _unreadable, _no_key, _no_client_ca],
)
async def test_a_wrong_new_version_is_not_used(
    service: Service, world: TlsWorld, logged: Logged, change: Callable[[TlsWorld], str]
) -> None:
    """The old certificate stays in force; one log line and the metric say so, without the key."""
    before = await presented(service)
    in_force = "file_in_force"
    assert await metric(service, in_force, file="tls") == 1
    reason = change(world)
    await eventually(lambda: logged.of("config_file_refused"))
    assert await presented(service) == before
    assert await metric(service, in_force, file="tls") == 0
    async with secure_channel(service.app.address, world.authority, world.client()) as channel:
        assert (await _call(channel)).stats.items_returned == 5
    (line,) = logged.of("config_file_refused")
    assert reason in str(line["errors"])
    assert "PRIVATE" not in logged.text
    assert "c2VjcmV0" not in logged.text
    world.server().write(world.folder, "server")
    world.trust_clients_of(world.authority)
    await eventually(lambda: logged.of("config_file_reloaded"))
    assert await presented(service) != before
    assert await metric(service, in_force, file="tls") == 1
