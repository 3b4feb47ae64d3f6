"""Tests of TLS over real sockets: certificates that are refused, and callers that they identify."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dynamodb_processor.v1.query_service_pb2 import QueryRequest, StreamQueryRequest
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from tests.faults.stub import open_stub
from tests.rpc.data import VIKTOR, events_catalog
from tests.rpc.logged import Logged
from tests.rpc.running_calls import BYPASS, remaining
from tests.rpc.tls_world import REPORTS, TlsWorld, entry, secure_channel
from tests.support.certificates import Certificate, issue
from tests.support.lengths import PATIENCE
from tests.support.running import (
    Service,
    eventually,
    make_key,
    open_service,
    query_spec,
    refused,
)

Code = grpc.StatusCode

_SPEC: Final = query_spec("events", "user_id = :u", parameters={"u": VIKTOR})
_KEYS: Final = (make_key("keyed"), make_key("shared", principal="reports"))
_CERTIFICATES: Final = (
    entry("reports", f"URI:{REPORTS}"),
    entry("jobs", "DNS:jobs.test", tables=("events",)),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> TlsWorld:
    """The certificates of these tests."""
    return TlsWorld(tmp_path_factory.mktemp("tls"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mutual(
    world: TlsWorld, tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, events: str
) -> AsyncIterator[Service]:
    """A server that requires client certificates, with a channel of the client "reports"."""
    async with open_service(
        tmp_path_factory.mktemp("mutual"),
        dynamodb_local,
        events_catalog(events),
        _KEYS,
        certificates=_CERTIFICATES,
        connect=world.connect(world.client()),
        health_listen="127.0.0.1:0",
        **world.mutual,
    ) as service:
        yield service


def _query(channel: grpc.aio.Channel, metadata: Any = (), **fields: Any) -> Any:
    request = QueryRequest(query=_SPEC, **fields)
    return QueryServiceStub(channel).Query(request, metadata=metadata, timeout=PATIENCE)


async def _status(address: str, name: str = "readiness") -> str:
    """Return the answer of a health check in plain text."""
    async with grpc.aio.insecure_channel(address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


# Connections


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "client",
    [
        lambda world: None,
        lambda world: world.client(issuer=None),
        lambda world: world.client(issuer=issue(common_name="foreign")),
        lambda world: world.client(issuer=issue(common_name="authority")),
        lambda world: world.client(days=(-9, -2)),
        lambda world: world.client(days=(2, 9)),
    ],
    ids=["none", "self-signed", "foreign", "foreign of the same name", "expired", "not yet valid"],
)
async def test_clients_without_a_valid_certificate_are_refused(
    mutual: Service, world: TlsWorld, client: Callable[[TlsWorld], Certificate | None]
) -> None:
    """The handshake fails, even with a valid API key, and others are served on."""
    async with secure_channel(mutual.app.address, world.authority, client(world)) as channel:
        refusal = await refused(_query(channel, mutual.metadata("keyed")))
    assert refusal.code is Code.UNAVAILABLE
    assert (await _query(mutual.channel)).stats.items_returned == 5


@pytest.mark.asyncio(loop_scope="module")
async def test_plain_text_is_refused_on_a_port_with_tls(mutual: Service) -> None:
    """A client that sends its API key unencrypted gets no answer."""
    async with grpc.aio.insecure_channel(mutual.app.address) as channel:
        assert (await refused(_query(channel))).code is Code.UNAVAILABLE


# Callers


@pytest.mark.asyncio(loop_scope="module")
async def test_a_certificate_identifies_its_caller(mutual: Service, logged: Logged) -> None:
    """Without an API key the certificate decides; the log has the id of its entry."""
    call = _query(mutual.channel, (("x-request-id", "certified"),))
    assert (await call).stats.items_returned == 5
    await eventually(lambda: "certified" in logged.text)
    line = logged.call("certified")
    assert (line["principal"], line["key_id"]) == ("reports", "reports")


@pytest.mark.asyncio(loop_scope="module")
async def test_an_api_key_counts_before_the_certificate(mutual: Service, logged: Logged) -> None:
    """The certificate may be that of a sidecar of many callers."""
    metadata = (*mutual.metadata("keyed"), ("x-request-id", "keyed"))
    await _query(mutual.channel, metadata)
    await eventually(lambda: '"keyed"' in logged.text)
    assert logged.call("keyed")["principal"] == "keyed"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_wrong_api_key_is_refused_beside_a_certificate(mutual: Service) -> None:
    """The certificate is no way around a key that was removed."""
    refusal = await refused(_query(mutual.channel, (("x-api-key", "wrong"),)))
    assert (refusal.code, refusal.reason) == (Code.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert refusal.message == "the API key is not valid"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_principal_may_have_both(mutual: Service) -> None:
    """Its page tokens are valid with either; those of others are not."""
    token = (await _query(mutual.channel, page_size=2)).next_page_token
    for key, is_valid in (("shared", True), ("keyed", False)):
        call = _query(mutual.channel, mutual.metadata(key), page_token=token)
        assert (await call.code() is Code.OK) == is_valid


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("unknown.test",), "the client certificate names no known caller"),
        (("a.jobs.test",), "the client certificate names no known caller"),
        (("jobs.test",), ""),
        (("JOBS.test", "other.test"), ""),
    ],
)
async def test_a_certificate_needs_an_entry(
    mutual: Service, world: TlsWorld, names: tuple[str, ...], message: str
) -> None:
    """The signature of the authority alone grants nothing."""
    client = world.client(*names)
    async with secure_channel(mutual.app.address, world.authority, client) as channel:
        if not message:
            assert (await _query(channel)).stats.items_returned == 5
            return
        refusal = await refused(_query(channel))
    assert (refusal.code, refusal.message) == (Code.UNAUTHENTICATED, message)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_grants_of_the_entry_hold(mutual: Service, world: TlsWorld) -> None:
    """An entry for certificates has tables, as one for a key."""
    client = world.client("jobs.test")
    async with secure_channel(mutual.app.address, world.authority, client) as channel:
        request = QueryRequest(query=query_spec("uncached", "user_id = 'x'"))
        refusal = await refused(QueryServiceStub(channel).Query(request, timeout=PATIENCE))
    assert refusal.message == "table uncached is not granted to jobs"


async def test_a_stream_ends_with_the_entry_of_its_certificate(
    tmp_path: Path, dynamodb_local: str, events: str, world: TlsWorld, logged: Logged
) -> None:
    """The page that was being read is not sent when the entry is gone."""
    async with open_stub(dynamodb_local) as stub:
        stub.script = lambda number, body: stub.gate.clear()
        async with open_service(
            tmp_path,
            f"http://127.0.0.1:{stub.port}",
            events_catalog(events),
            _KEYS,
            certificates=_CERTIFICATES,
            connect=world.connect(world.client()),
            stream_interval=600.0,
            **world.mutual,
        ) as service:
            request = StreamQueryRequest(
                query=query_spec("events", "user_id = 'ulrike-lindqvist'"),
                page_size=10,
                cache=BYPASS,
            )
            stream: Any = service.queries.StreamQuery(request, timeout=PATIENCE)
            assert len((await stream.read()).items) == 10
            service.write_keys(*_KEYS, certificates=_CERTIFICATES[1:])
            await eventually(lambda: logged.of("config_file_reloaded"))
            stub.script = lambda number, body: None
            stub.gate.set()
            messages, refusal = await remaining(stream)
    assert refusal is not None
    assert (refusal.code, refusal.message) == (
        Code.UNAUTHENTICATED,
        "the client certificate names no known caller",
    )
    assert not messages


# Ports


@pytest.mark.asyncio(loop_scope="module")
async def test_the_health_port_serves_health_alone(mutual: Service) -> None:
    """It is for probes that have no certificate, and shows the same statuses."""
    address = mutual.app.health_address
    assert await _status(address) == "SERVING"
    assert await _status(address, "liveness") == "SERVING"
    async with grpc.aio.insecure_channel(address) as channel:
        refusal = await refused(_query(channel, mutual.metadata("keyed")))
    assert refusal.code is Code.UNIMPLEMENTED
    assert await mutual.check() == "SERVING"


@pytest.mark.parametrize("with_tls", [True, False])
async def test_the_health_port_follows_readiness(
    tmp_path: Path, dynamodb_local: str, events: str, world: TlsWorld, with_tls: bool
) -> None:
    """A server whose tables are missing is alive and not ready, whatever its main port speaks."""
    catalog = {"tables": {"gone": {"table": "tls-was-never-there"}}}
    settings: Mapping[str, Any] = {"connect": world.connect(), **world.settings}
    async with open_service(
        tmp_path,
        dynamodb_local,
        catalog,
        health_listen="127.0.0.1:0",
        **(settings if with_tls else {}),
    ) as service:
        assert await _status(service.app.health_address) == "NOT_SERVING"
        assert await _status(service.app.health_address, "liveness") == "SERVING"


async def test_two_ports_make_certificates_optional(
    tmp_path: Path, dynamodb_local: str, events: str, world: TlsWorld
) -> None:
    """With `mtls_listen` the main port takes API keys from clients without a certificate."""
    async with open_service(
        tmp_path,
        dynamodb_local,
        events_catalog(events),
        _KEYS,
        certificates=_CERTIFICATES,
        connect=world.connect(),
        mtls_listen="127.0.0.1:0",
        **world.mutual,
    ) as service:
        assert (await service.query(_SPEC)).stats.items_returned == 5
        refusal = await refused(_query(service.channel))
        assert refusal.message == (
            "no API key: send x-api-key or authorization: Bearer; "
            "no client certificate: connect to the port that requires one"
        )
        address = service.app.mtls_address
        async with secure_channel(address, world.authority, world.client()) as channel:
            assert (await _query(channel)).stats.items_returned == 5
        async with secure_channel(address, world.authority) as channel:
            assert (await refused(_query(channel))).code is Code.UNAVAILABLE


async def test_with_tls_alone_a_certificate_is_not_asked_for(
    tmp_path: Path, dynamodb_local: str, events: str, world: TlsWorld
) -> None:
    """Without `tls_client_ca` callers have API keys, and a client's certificate is ignored."""
    async with open_service(
        tmp_path,
        dynamodb_local,
        events_catalog(events),
        _KEYS,
        certificates=_CERTIFICATES,
        connect=world.connect(world.client()),
        **world.settings,
    ) as service:
        assert (await service.query(_SPEC)).stats.items_returned == 5
        refusal = await refused(_query(service.channel))
        assert refusal.message == "no API key: send x-api-key or authorization: Bearer"
