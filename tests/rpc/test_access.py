"""Tests of authentication, roles, grants of tables, and reloaded keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest, ListTablesRequest
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from tests.rpc.data import VIKTOR, events_catalog
from tests.rpc.logged import Logged
from tests.support.lengths import PATIENCE
from tests.support.running import (
    Key,
    Refusal,
    Service,
    eventually,
    make_key,
    open_service,
    query_spec,
    refused,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
_SPEC = query_spec("events", "user_id = :u", parameters={"u": VIKTOR})


async def refused_with(service: Service, metadata: Sequence[tuple[str, str]]) -> Refusal:
    """Return the failure of a call with this metadata."""
    request = QueryRequest(query=_SPEC)
    return await refused(service.queries.Query(request, metadata=tuple(metadata), timeout=PATIENCE))


# Authentication


@pytest.mark.parametrize(
    "header",
    [("x-api-key", "{}"), ("authorization", "Bearer {}"), ("authorization", "bearer {}")],
    ids=["x-api-key", "bearer", "bearer in small letters"],
)
async def test_a_key_is_accepted_in_either_header(
    service: Service, header: tuple[str, str]
) -> None:
    """Callers may use the header that their tools support."""
    name, form = header
    metadata = ((name, form.format(service.keys["reports"].text)),)
    answer = await service.queries.Query(
        QueryRequest(query=_SPEC), metadata=metadata, timeout=PATIENCE
    )
    assert answer.stats.items_returned == 5


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ((), "no API key: send x-api-key or authorization: Bearer"),
        ((("x-api-key", "ddbp_wrong"),), "the API key is not valid"),
        ((("x-api-key", ""),), "no API key"),
        ((("authorization", "Basic dXNlcjpwYXNz"),), "no API key"),
        ((("authorization", "Bearer ddbp_wrong"),), "the API key is not valid"),
        ((("x-api-key", "one"), ("authorization", "Bearer two")), "more than one API key"),
    ],
)
async def test_without_a_valid_key_calls_are_refused(
    service: Service, metadata: Sequence[tuple[str, str]], words: str
) -> None:
    """A missing, wrong, ambiguous or foreign key is UNAUTHENTICATED, without further hints."""
    refusal = await refused_with(service, metadata)
    assert (refusal.code, refusal.reason) == (Code.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert words in refusal.message
    assert "wrong" not in refusal.message


@pytest.mark.parametrize("method", ["Query", "StreamQuery", "ListTables", "GetTable"])
async def test_every_method_needs_a_key(service: Service, method: str) -> None:
    """A call without a key is refused before its request is decoded."""
    owner = "Catalog" if "Table" in method else "Query"
    call: Any = service.channel.unary_unary(f"/dynamodb_processor.v1.{owner}Service/{method}")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff", timeout=PATIENCE)
    assert caught.value.code() is Code.UNAUTHENTICATED


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, events: str) -> Any:
    """A server with keys of many kinds."""
    keys = [
        make_key("reports"),
        make_key("expired", expires="2020-01-01T00:00:00Z"),
        make_key("operator", roles=["admin"]),
        make_key("both", roles=["admin", "reader"]),
        make_key("flyer", tables=["fl*", "gone"]),
    ]
    catalog = events_catalog(events)
    catalog["tables"]["gone"] = {"table": "rpc-was-never-there"}
    directory = tmp_path_factory.mktemp("doors")
    async with open_service(directory, dynamodb_local, catalog, keys) as running:
        yield running


async def test_an_expired_key_is_refused_like_a_wrong_one(doors: Service) -> None:
    """The refusal does not reveal that the key was valid once."""
    refusal = await refused_with(doors, doors.metadata("expired"))
    assert refusal.code is Code.UNAUTHENTICATED
    assert refusal.message == "the API key is not valid"


# Roles and grants


async def test_a_key_without_the_reader_role_reads_nothing(doors: Service) -> None:
    """Such a key may read neither items nor the catalog."""
    refusal = await refused(doors.query(_SPEC, key="operator"))
    assert (refusal.code, refusal.reason) == (Code.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert refusal.message == "this method needs the role reader"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await doors.catalog.ListTables(
            ListTablesRequest(), metadata=doors.metadata("operator"), timeout=PATIENCE
        )
    assert caught.value.code() is Code.PERMISSION_DENIED
    assert (await doors.query(_SPEC, key="both")).stats.items_returned == 5


@pytest.mark.parametrize(
    "spec",
    [
        query_spec("events", "user_id = :u", parameters={"u": VIKTOR}),
        query_spec("no-such-table", "user_id = :u", parameters={"u": VIKTOR}),
        query_spec("events", "this is ( no expression", order=9),
        query_spec("x" * 300, "a = 1"),
        query_spec("FLIGHTS", "a = 1"),
    ],
    ids=["existing", "missing", "with mistakes", "with a long name", "of another case"],
)
async def test_a_table_that_is_not_granted_is_refused_before_anything_else(
    doors: Service, spec: Any
) -> None:
    """The refusal reveals neither whether the table exists nor whether the query is valid."""
    refusal = await refused(doors.query(spec, key="flyer"))
    assert refusal.code is Code.PERMISSION_DENIED
    assert refusal.message == f"table {spec.table[:255]} is not granted to flyer"
    assert refusal.details.keys() == {"ErrorInfo"}


async def test_get_table_reveals_no_more_than_queries(doors: Service) -> None:
    """GetTable of a table that is not granted fails as a query does."""
    for name, code in {"events": Code.PERMISSION_DENIED, "gone": Code.NOT_FOUND}.items():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await doors.catalog.GetTable(
                GetTableRequest(table=name), metadata=doors.metadata("flyer"), timeout=PATIENCE
            )
        assert caught.value.code() is code


async def test_a_granted_table_that_does_not_exist_is_not_found(doors: Service) -> None:
    """A table missing in DynamoDB and one missing in the catalog give the same error."""
    for name in ("gone", "flown"):
        refusal = await refused(doors.query(query_spec(name, "a = 1"), key="flyer"))
        assert (refusal.code, refusal.reason) == (Code.NOT_FOUND, "TABLE_NOT_FOUND")
        assert refusal.message == f"table {name} does not exist"


# Reloading


async def test_the_keys_file_is_reloaded(
    tmp_path: Path, dynamodb_local: str, events: str, logged: Logged
) -> None:
    """New keys work and removed ones do not, without a restart; an invalid file changes nothing."""
    old, new = make_key("old"), make_key("new")
    async with open_service(tmp_path, dynamodb_local, events_catalog(events), [old]) as service:

        async def works(key: Key) -> bool:
            request = QueryRequest(query=_SPEC)
            call = service.queries.Query(request, metadata=key.metadata, timeout=PATIENCE)
            code = await call.code()
            assert code in (Code.OK, Code.UNAUTHENTICATED)
            return code is Code.OK

        assert await works(old)
        assert not await works(new)
        service.write_keys(new)
        await eventually(lambda: works(new))
        assert not await works(old)

        service.keys_file.write_text("keys: [{id: broken, digest: plain-key-by-error}]")
        await eventually(lambda: logged.of("config_file_refused"))
        assert await works(new)
        assert "plain-key-by-error" not in logged.text
        (record,) = logged.of("config_file_refused")
        assert all("keys.yaml:1" in error for error in record["errors"])
