"""The acceptance test passes on the service, and names the scenario of each planted fault."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from dynamodb_processor.v1.cache_service_pb2 import InvalidateCacheRequest, InvalidateCacheResponse
from dynamodb_processor.v1.catalog_service_pb2 import ListTablesRequest, ListTablesResponse
from dynamodb_processor.v1.query_pb2 import AccessPath, CacheStatus, Order
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    BatchGetItemsResponse,
    CountItemsRequest,
    CountItemsResponse,
    ExplainQueryRequest,
    ExplainQueryResponse,
    QueryRequest,
    QueryResponse,
    StreamQueryRequest,
    StreamQueryResponse,
)
from dynamodb_processor_client import Query, QueryClient
from dynamodb_processor_server.acceptance import under_load
from dynamodb_processor_server.acceptance.run import SCENARIOS, Keys, accept, run_scenario
from dynamodb_processor_server.acceptance.scenario import Deployment, LoadBounds
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.rpc.health_client import serving_status
from tests.support.access import ApiKey, keys_file
from tests.support.certificates import issue
from tests.support.dynamodb import open_client
from tests.support.events import load_events
from tests.support.interposer import Fault, Metadata, Refused, open_interposer
from tests.support.lengths import PATIENCE
from tests.support.processes import ServerProcess, served, start_command

TABLE: Final = "accepted-events"
CALLER: Final = ApiKey("accepting")
ADMIN: Final = ApiKey("administering", roles=("reader", "admin"))
LIMITED: Final = ApiKey("limited")
PACED: Final = ApiKey("paced")
KEYS: Final = Keys(CALLER.text, ADMIN.text, LIMITED.text)
QUERY: Final = Query(TABLE, "user_id = 'u-3'")  # 40 items
RATE_CLASSES: Final = json.dumps(
    {
        "default": {"calls_per_second": 1_000_000, "planning_seconds_per_second": None},
        "low": {"calls_per_second": 5},
        "paced": {"calls_per_second": 30},
    }
)
#: Latencies of a machine that runs other tests are no measure.
NO_HURRY: Final = LoadBounds(calls=200, concurrency=50, seconds=PATIENCE)


@pytest.fixture(scope="module")
def server(
    dynamodb_local: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server over a table of events, with keys for every scenario."""
    load_events(open_client(dynamodb_local), TABLE, 100)
    keys = keys_file(CALLER, ADMIN)
    keys["keys"].append(LIMITED.entry | {"rate_class": "low"})
    keys["keys"].append(PACED.entry | {"rate_class": "paced"})
    with served(
        {"tables": {TABLE: {}}},
        keys,
        tmp_path_factory.mktemp("acceptance"),
        endpoint_url=dynamodb_local,
        env={"DYNAMODB_PROCESSOR_RATE_CLASSES": RATE_CLASSES},
    ) as process:
        yield process


async def outcomes(
    address: str,
    keys: Keys = KEYS,
    query: Query = QUERY,
    load: LoadBounds = NO_HURRY,
) -> tuple[int, dict[str, str]]:
    """Return the exit code of the acceptance test, and each scenario's line of the report."""
    lines: list[str] = []
    code = await accept(
        lambda key: QueryClient(address, api_key=key, options=(("grpc.enable_retries", 0),)),
        lambda name: serving_status(address, name, PATIENCE),
        query,
        keys,
        load,
        lines.append,
    )
    names = [scenario.name for scenario in SCENARIOS]
    assert len(lines) == len(names) + 1
    return code, dict(zip(names, lines, strict=False))


async def test_every_scenario_passes(server: ServerProcess) -> None:
    """The service keeps every promise."""
    code, lines = await outcomes(server.address)
    assert [line for line in lines.values() if not line.startswith("passed")] == []
    assert code == 0


@pytest.mark.parametrize("on_health_port", [False, True])
def test_a_deployment_with_tls_passes(
    server: ServerProcess,
    dynamodb_local: str,
    tmp_path_factory: pytest.TempPathFactory,
    on_health_port: bool,
) -> None:
    """The command takes the files of `ddbq`, and asks for health with them or without TLS."""
    folder = tmp_path_factory.mktemp("acceptance-tls")
    authority, own = issue(common_name="authority"), issue("db.test")
    ca, _ = authority.write(folder, "ca")
    certificate, key = own.write(folder, "server")
    cert, cert_key = issue("tester.test", issuer=authority).write(folder, "client")
    flags = [f"--tls-certificate={certificate}", f"--tls-key={key}", f"--tls-client-ca={ca}"]
    with served(
        {"tables": {TABLE: {}}},
        keys_file(CALLER),
        folder,
        endpoint_url=dynamodb_local,
        env={"DYNAMODB_PROCESSOR_RATE_CLASSES": RATE_CLASSES},
        args=[*flags, "--health-listen=127.0.0.1:0"],
    ) as process:
        (started,) = (one for one in process.records if one["event"] == "serving")
        command = ["accept", f"--target={process.address}", f"--table={TABLE}"]
        command += [f"--expression={QUERY.expression}", "--calls=100", "--max-p95-ms=60000"]
        command += [f"--cacert={certificate}", f"--cert={cert}", f"--cert-key={cert_key}"]
        command += ["--server-name=db.test"]
        if on_health_port:
            command += [f"--health-target={started['health_address']}"]
        done = start_command(command, env={"DDBQ_API_KEY": CALLER.text}, cwd=folder)
        assert done.wait() == 0, done.output
    assert "0 FAILED" in done.output


async def test_scenarios_without_their_key_are_named(server: ServerProcess) -> None:
    """A scenario that needs another key says which, and is no failure."""
    code, lines = await outcomes(server.address, Keys(CALLER.text))
    assert lines["limits"].startswith("not run")
    assert "DDBQ_LIMITED_KEY" in lines["limits"]
    assert lines["invalidation"].startswith("not run")
    assert "DDBQ_ADMIN_KEY" in lines["invalidation"]
    assert code == 0


@pytest.mark.parametrize(
    ("keys", "query", "named"),
    [
        (Keys("wrong"), QUERY, "UNAUTHENTICATED"),
        (KEYS, Query("absent", "a = 1"), "NOT_FOUND"),
        (KEYS, Query(TABLE, "user_id = 'nobody'"), "8 to 10,000 items, and matches 0"),
        (KEYS, Query(TABLE, "user_id ="), "INVALID_ARGUMENT"),
    ],
    ids=["key", "table", "items", "expression"],
)
async def test_unusable_arguments_are_refused(
    server: ServerProcess, keys: Keys, query: Query, named: str
) -> None:
    """A deployment without a usable query is an error of the arguments, not of a scenario."""
    with pytest.raises(ConfigurationError, match=named):
        await outcomes(server.address, keys, query)


def not_ready(request: HealthCheckRequest, response: HealthCheckResponse) -> None:
    """Answer that the server is not ready."""
    if request.service == "readiness":
        response.status = HealthCheckResponse.NOT_SERVING


def any_key(_: QueryRequest, metadata: Metadata) -> None:
    """Take every key, and none, for the caller's."""
    known = {key.text for key in (CALLER, ADMIN, LIMITED)}
    if dict(metadata).get("x-api-key") not in known:
        metadata[:] = [("x-api-key", CALLER.text)]


def no_tables(_: ListTablesRequest, response: ListTablesResponse) -> None:
    """List no tables."""
    response.ClearField("tables")


def without_details(code: grpc.StatusCode) -> Callable[[Any, grpc.aio.AioRpcError], Refused | None]:
    """Return a change of errors with the code, which then have no details."""
    return lambda _, error: Refused(code, "no") if error.code() is code else None


def drop_from_first(request: QueryRequest, response: QueryResponse) -> None:
    """Lose an item of the first page of default size."""
    if not request.page_size:
        del response.items[:1]


def drop_from_later(request: QueryRequest, response: QueryResponse) -> None:
    """Lose an item of each page that has a token."""
    if request.page_token:
        del response.items[:1]


def drop_from_resumed(request: StreamQueryRequest, response: StreamQueryResponse) -> None:
    """Lose an item of each message of a continued stream."""
    if request.resume_token:
        del response.items[:1]


def drop_where(text: str) -> Callable[[StreamQueryRequest, StreamQueryResponse], None]:
    """Return a change that loses an item of expressions with the text."""

    def drop(request: StreamQueryRequest, response: StreamQueryResponse) -> None:
        if text in request.query.expression:
            del response.items[:1]

    return drop


def scan(_: ExplainQueryRequest, response: ExplainQueryResponse) -> None:
    """Explain the query as a scan."""
    response.path = AccessPath.ACCESS_PATH_SCAN


def ascending(request: StreamQueryRequest, _: Metadata) -> None:
    """Forget the order."""
    request.query.order = Order.ORDER_ASCENDING


def everything(request: StreamQueryRequest, _: Metadata) -> None:
    """Forget the projection."""
    request.query.ClearField("projection")


def one_more(_: CountItemsRequest, response: CountItemsResponse) -> None:
    """Count one item too many."""
    response.total.value += 1


def unknown_key(request: BatchGetItemsRequest, _: Metadata) -> None:
    """Ask for another item in place of the first."""
    request.keys[0].attributes["user_id"].s = "nobody"


def no_budget(request: QueryRequest, _: Metadata) -> None:
    """Forget the budget."""
    request.ClearField("budget")


def charged_hit(_: QueryRequest, response: QueryResponse) -> None:
    """Report read units for a cached page."""
    if response.cache.status == CacheStatus.CACHE_STATUS_HIT:
        response.stats.read_units = 0.5


def other_partition(request: InvalidateCacheRequest, _: Metadata) -> None:
    """Invalidate the pages of another user alone."""
    request.partition_key.attributes["user_id"].s = "nobody"


def unavailable(request: QueryRequest, _: Metadata) -> None:
    """Fail one of the calls of the load."""
    if request.page_size == 7 and not request.HasField("cache"):
        raise Refused(grpc.StatusCode.UNAVAILABLE, "busy")


QUERY_TYPES: Final = ("Query", QueryRequest, QueryResponse)
STREAM_TYPES: Final = ("StreamQuery", StreamQueryRequest, StreamQueryResponse)
FAULTS: Final[Mapping[str, Fault]] = {
    "health": Fault("Check", HealthCheckRequest, HealthCheckResponse, on_response=not_ready),
    "keys": Fault(*QUERY_TYPES, on_request=any_key),
    "catalog": Fault("ListTables", ListTablesRequest, ListTablesResponse, on_response=no_tables),
    "validation": Fault(*QUERY_TYPES, on_error=without_details(grpc.StatusCode.INVALID_ARGUMENT)),
    "limits": Fault(*QUERY_TYPES, on_error=without_details(grpc.StatusCode.RESOURCE_EXHAUSTED)),
    "query": Fault(*QUERY_TYPES, on_response=drop_from_first),
    "explain": Fault("ExplainQuery", ExplainQueryRequest, ExplainQueryResponse, on_response=scan),
    "range": Fault(*STREAM_TYPES, on_response=drop_where(" BETWEEN ")),
    "list": Fault(*STREAM_TYPES, on_response=drop_where(" IN (")),
    "filter": Fault(*STREAM_TYPES, on_response=drop_where("NOT ")),
    "pages": Fault(*QUERY_TYPES, on_response=drop_from_later),
    "resume": Fault(*STREAM_TYPES, on_response=drop_from_resumed),
    "order": Fault(*STREAM_TYPES, on_request=ascending),
    "projection": Fault(*STREAM_TYPES, on_request=everything),
    "total": Fault("CountItems", CountItemsRequest, CountItemsResponse, on_response=one_more),
    "get": Fault(
        "BatchGetItems", BatchGetItemsRequest, BatchGetItemsResponse, on_request=unknown_key
    ),
    "budget": Fault(*QUERY_TYPES, on_request=no_budget),
    "cache": Fault(*QUERY_TYPES, on_response=charged_hit),
    "invalidation": Fault(
        "InvalidateCache",
        InvalidateCacheRequest,
        InvalidateCacheResponse,
        on_request=other_partition,
    ),
    "load": Fault(*QUERY_TYPES, on_request=unavailable),
}


def test_each_scenario_has_its_fault() -> None:
    """No scenario is without a fault that it finds."""
    assert list(FAULTS) == [scenario.name for scenario in SCENARIOS]


@pytest.mark.parametrize("name", FAULTS)
async def test_a_planted_fault_fails_its_scenario(server: ServerProcess, name: str) -> None:
    """A server with one fault fails the scenario that promises the contrary, and no other."""
    async with open_interposer(server.address, [FAULTS[name]]) as address:
        code, lines = await outcomes(address)
    assert [each for each, line in lines.items() if line.startswith("FAILED")] == [name]
    assert code == 1


async def test_slow_answers_fail_the_load(server: ServerProcess) -> None:
    """Latencies above the bound fail the scenario of the load."""
    _, lines = await outcomes(server.address, load=replace(NO_HURRY, seconds=1e-6))
    assert "the 95th percentile is" in lines["load"]


async def test_a_load_over_the_rate_class_is_no_failure(server: ServerProcess) -> None:
    """The calls of a caller with a low rate class wait as refusals say, and all are answered."""
    (scenario,) = under_load.SCENARIOS
    async with QueryClient(server.address, api_key=PACED.text) as client:
        table = await client.table(TABLE)
        load = LoadBounds(calls=60, concurrency=60, seconds=PATIENCE)
        deployment = Deployment(
            client, lambda _: client, lambda _: serving_status("", "", 0.0), table, QUERY, (),
            load=load,
        )  # fmt: skip
        result = await run_scenario(scenario, deployment)
    assert result.outcome == "passed", result.text
    assert "0.0% failed" in result.text
    assert result.text.endswith("refusals by the rate class")
