"""The traces of calls, as a collector receives them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from dynamodb_processor.v1.query_pb2 import Budget, TotalMode, TotalOptions
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.rpc.data import COUNTS, NOTE, ULRIKE, VIKTOR, events_catalog
from tests.rpc.traced import Traced
from tests.support.lengths import PATIENCE
from tests.support.otlp import Collector, Tree, is_error, open_collector, values
from tests.support.processes import free_address
from tests.support.redis_server import RedisServer
from tests.support.running import eventually, open_service, query_spec, refused
from tests.support.silent_server import silent_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

_PAGE: Final = Path(__file__).parents[2] / "docs" / "operations" / "tracing.md"
_METHOD: Final = "dynamodb_processor.v1.QueryService"
_VIKTOR: Final = query_spec("events", "user_id = :u", parameters={"u": VIKTOR})
_BOTH: Final = query_spec("events", "user_id IN (:u, :v)", parameters={"u": ULRIKE, "v": VIKTOR})


def documented(number: int) -> Tree:
    """Return one of the trees of spans on the page about tracing, the first one is 0."""
    blocks = re.findall(r"```text\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    lines = [(len(line) - len(line.lstrip()), line.strip()) for line in blocks[number].splitlines()]

    def below(first: int) -> tuple[Tree, int]:
        indent, name = lines[first]
        children, at = [], first + 1
        while at < len(lines) and lines[at][0] > indent:
            child, at = below(at)
            children.append(child)
        return (name, tuple(children)), at

    return below(0)[0]


# Trees of spans


async def test_a_fan_out_that_misses_is_the_documented_tree(traced: Traced) -> None:
    """Its requests to DynamoDB are siblings below the read, with table, cost and id."""
    page = await traced.service.query(_BOTH, page_size=4)
    call = await traced.call()
    assert traced.collector.tree(call) == documented(0)
    described = values(call.attributes)
    assert described["rpc.system.name"] == "grpc"
    assert described["rpc.method"] == call.name == f"{_METHOD}/Query"
    assert described["rpc.response.status_code"] == "OK"
    assert described["dynamodb_processor.cache"] == "MISS"
    assert described["dynamodb_processor.items"] == 4
    assert described["dynamodb_processor.table"] == "events"
    assert not is_error(call)
    assert not call.parent_span_id

    (plan,) = traced.collector.named("plan query")
    assert values(plan.attributes)["dynamodb_processor.partitions"] == 2
    requests = [values(one.attributes) for one in traced.collector.named("DynamoDB.Query")]
    assert {one["db.system.name"] for one in requests} == {"aws.dynamodb"}
    assert {one["db.operation.name"] for one in requests} == {"Query"}
    assert {one["dynamodb_processor.table"] for one in requests} == {"events"}
    assert {one["http.response.status_code"] for one in requests} == {200}
    assert len({one["aws.request_id"] for one in requests}) == 2
    units = sum(one["dynamodb_processor.read_units"] for one in requests)
    assert units == page.stats.read_units > 0
    assert all(one["aws.dynamodb.table_names"][0].startswith("rpc-events-") for one in requests)


async def test_a_hit_is_the_documented_tree(traced: Traced) -> None:
    """A page of the cache needs one look-up."""
    await traced.service.query(_VIKTOR, page_size=2)
    await traced.call()
    traced.collector.clear()
    await traced.service.query(_VIKTOR, page_size=2)
    call = await traced.call()
    assert traced.collector.tree(call) == documented(1)
    (look_up,) = traced.collector.named("look up page")
    assert values(look_up.attributes)["dynamodb_processor.cache"] == "HIT"


async def test_each_page_of_a_stream_is_below_its_call(traced: Traced) -> None:
    """The pages that are read ahead belong to the stream as well."""
    spec = query_spec("uncached", "user_id = :u", parameters={"u": ULRIKE})
    messages = await traced.service.messages(spec, page_size=100)
    call = await traced.call("/StreamQuery")
    reads = [one for one in traced.collector.children(call) if one.name == "read page"]
    assert len(reads) == len(messages) == 3
    assert values(call.attributes)["dynamodb_processor.messages"] == 3
    assert sum(values(read.attributes)["dynamodb_processor.items"] for read in reads) == 250


async def test_batches_are_below_their_call(traced: Traced) -> None:
    """Each BatchGetItem is a child of the call, as nothing is planned or cached."""
    keys = [
        Item(attributes={"user_id": AttributeValue(s=ULRIKE), "at": AttributeValue(n=str(at))})
        for at in range(1, 101)
    ]
    await traced.service.get("events", keys)
    call = await traced.call("/BatchGetItems")
    children = traced.collector.children(call)
    assert {child.name for child in children} == {"DynamoDB.BatchGetItem"}


async def test_whole_items_of_an_index_are_got_below_the_read(traced: Traced) -> None:
    """The documented tree: the index is queried, and the items that it holds in part are got.

    A budget of read units keeps cached items from the page, which need no request.
    """
    spec, budget = query_spec("events", "kind = 'login'"), Budget(max_read_units=1_000)
    await traced.service.query(spec, page_size=5, budget=budget)
    call = await traced.call()
    assert traced.collector.tree(call) == documented(2)
    (query,) = traced.collector.named("DynamoDB.Query")
    assert values(query.attributes)["aws.dynamodb.index_name"] == "by_kind"


async def test_cached_items_of_an_index_need_no_request(traced: Traced) -> None:
    """A page whose items another page has stored needs the index alone."""
    spec = query_spec("events", "kind = 'login'")
    await traced.service.query(spec, page_size=7)
    await traced.call()
    traced.collector.clear()
    await traced.service.query(spec, page_size=6)
    (read,) = [
        one for one in traced.collector.children(await traced.call()) if one.name == "read page"
    ]
    assert [one.name for one in traced.collector.children(read)] == ["DynamoDB.Query"]


async def test_an_exact_total_is_planned_as_well(traced: Traced) -> None:
    """Its pages are read in the same call."""
    total = TotalOptions(mode=TotalMode.TOTAL_MODE_EXACT)
    await traced.service.query(_VIKTOR, page_size=1, total=total)
    call = await traced.call()
    names = [child.name for child in traced.collector.children(call)]
    assert names[:2] == ["plan query", "plan count"]
    assert names.count("read page") == 2


async def test_a_look_up_in_redis_is_below_the_read(
    tmp_path: Path, dynamodb_local: str, events: str, redis_server: RedisServer
) -> None:
    """The documented tree of a miss in both caches."""
    with open_collector() as collector:
        async with open_service(
            tmp_path,
            dynamodb_local,
            events_catalog(events),
            tracing="otlp",
            tracing_endpoint=collector.url,
            redis_url=redis_server.url,
            redis_prefix="traced",
            token_keys=f"a:{'A' * 43}",
        ) as service:
            await service.query(_VIKTOR)
        (call,) = collector.calls("/Query")
        assert collector.tree(call) == documented(3)
        (look_up,) = collector.named("look up shared page")
        result = values(look_up.attributes)["dynamodb_processor.cache"]
        assert result in {"MISS", "UNAVAILABLE"}  # the replica may not follow Redis yet


async def test_no_span_has_a_value(traced: Traced) -> None:
    """Keys, parameters and items are in no byte that is sent, in no failure either."""
    await traced.service.query(_BOTH, page_size=250)
    bad = query_spec("events", "user_id = :u AND", parameters={"u": ULRIKE})
    await refused(traced.service.query(bad))
    await refused(traced.service.query(query_spec("events", f"note = '{ULRIKE}'")))
    await eventually(lambda: len(traced.collector.calls()) == 3)
    sent = b"".join(traced.collector.bodies)
    assert b"DynamoDB.Query" in sent
    for secret in (*COUNTS, NOTE, "ddbp_"):
        assert secret.encode() not in sent


async def test_the_resource_names_the_service(traced: Traced) -> None:
    """Spans come with the name and the version of the service, at the path of OTLP."""
    await traced.service.query(_VIKTOR)
    await traced.call()
    assert traced.collector.resource["service.name"] == "dynamodb-processor"
    assert traced.collector.resource["service.version"]
    assert traced.collector.path == "/v1/traces"


async def test_probes_are_not_traced(traced: Traced) -> None:
    """Health checks come every few seconds."""
    await traced.service.check()
    await traced.service.query(_VIKTOR)
    await traced.call()
    assert [span.name for span in traced.collector.calls()] == [f"{_METHOD}/Query"]


# Statuses


async def test_an_invalid_request_is_no_error_of_the_server(traced: Traced) -> None:
    """The span has the code and the reason, and no error status, as the conventions say."""
    await refused(traced.service.query(query_spec("events", "user_id =")))
    call = await traced.call()
    described = values(call.attributes)
    assert described["rpc.response.status_code"] == "INVALID_ARGUMENT"
    assert described["dynamodb_processor.reason"] == "INVALID_REQUEST"
    assert not is_error(call)
    assert "error.type" not in described


async def test_a_cancelled_stream_has_its_status(traced: Traced) -> None:
    """A caller that leaves is CANCELLED, which is no error."""
    stream = traced.service.stream(query_spec("scannable"), page_size=1)
    await stream.read()
    stream.cancel()
    call = await traced.call("/StreamQuery")
    assert values(call.attributes)["rpc.response.status_code"] == "CANCELLED"
    assert not is_error(call)


async def _failed(collector: Collector, tmp_path: Path, endpoint: str, seconds: float) -> Span:
    """Return the span of a call with a deadline that a DynamoDB at an address makes fail."""
    settings: dict[str, Any] = {"tracing": "otlp", "tracing_endpoint": collector.url}
    async with open_service(tmp_path, endpoint, {"discover": ["x-*"]}, **settings) as service:
        request = QueryRequest(query=query_spec("x-table", "a = 1"))
        call = service.queries.Query(request, metadata=service.metadata(), timeout=seconds)
        await refused(call)
        span: Span
        (span,) = await eventually(lambda: collector.calls("/Query"))
    return span


async def test_an_unreachable_dynamodb_is_an_error(tmp_path: Path) -> None:
    """The call is UNAVAILABLE, and so is each attempt at the request, with its number."""
    with open_collector() as collector:
        call = await _failed(collector, tmp_path, f"http://{free_address()}", PATIENCE)
        assert values(call.attributes)["rpc.response.status_code"] == "UNAVAILABLE"
        assert values(call.attributes)["error.type"] == "UNAVAILABLE"
        assert is_error(call)
        attempts = [values(one.attributes) for one in collector.named("DynamoDB.DescribeTable")]
        assert [one.get("http.request.resend_count") for one in attempts] == [None, 1, 2]
        assert {one["error.type"] for one in attempts} == {"unreachable"}


async def test_a_deadline_that_passed_is_an_error(tmp_path: Path) -> None:
    """A call that its own deadline ends is DEADLINE_EXCEEDED, not CANCELLED.

    gRPC tells the server a deadline that is 9 ms later, because it rounds this one up.
    """
    with open_collector() as collector, silent_server() as port:
        call = await _failed(collector, tmp_path, f"http://127.0.0.1:{port}", 1.00123)
        assert values(call.attributes)["rpc.response.status_code"] == "DEADLINE_EXCEEDED"
        assert is_error(call)
