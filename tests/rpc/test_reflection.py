"""Tests of reflection: the contract, and its modes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.rpc.data import events_catalog
from tests.support.lengths import PATIENCE
from tests.support.running import Service, eventually, make_key, open_service

_SERVICES = {
    "dynamodb_processor.v1.CacheService",
    "dynamodb_processor.v1.CatalogService",
    "dynamodb_processor.v1.QueryService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
}


async def ask(service: Service, *, with_key: bool, **request: Any) -> Any:
    """Return the response to one request."""

    async def requests() -> AsyncIterator[Any]:
        yield reflection_pb2.ServerReflectionRequest(**request)

    channel: Any = service.channel  # the stubs know only channels of the other kind
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    metadata = service.metadata() if with_key else ()
    call = stub.ServerReflectionInfo(requests(), metadata=metadata, timeout=PATIENCE)
    answers = [answer async for answer in call]
    return answers[0]


async def services(service: Service, *, with_key: bool) -> set[str]:
    """Return the names of the services that reflection lists."""
    answer = await ask(service, with_key=with_key, list_services="")
    return {entry.name for entry in answer.list_services_response.service}


async def test_open_reflection_needs_no_key(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """Tools find every service, and the contract as it is written."""
    catalog = events_catalog(events)
    async with open_service(tmp_path, dynamodb_local, catalog, reflection="open") as service:
        assert await services(service, with_key=False) == _SERVICES
        answer = await ask(
            service, with_key=False, file_containing_symbol="dynamodb_processor.v1.QueryService"
        )
        files = {
            FileDescriptorProto.FromString(file).name
            for file in answer.file_descriptor_response.file_descriptor_proto
        }
        assert "dynamodb_processor/v1/query_service.proto" in files


async def test_authenticated_reflection_needs_a_key(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """Any valid key is accepted."""
    catalog = events_catalog(events)
    async with open_service(
        tmp_path, dynamodb_local, catalog, reflection="authenticated"
    ) as service:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await services(service, with_key=False)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert await services(service, with_key=True) == _SERVICES


async def test_reflection_can_be_off(tmp_path: Path, dynamodb_local: str, events: str) -> None:
    """The service then does not exist, with or without a key."""
    catalog = events_catalog(events)
    async with open_service(tmp_path, dynamodb_local, catalog, reflection="off") as service:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await services(service, with_key=True)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_reflection_stream_ends_with_its_key(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """A request after the key was removed is not answered."""
    catalog = events_catalog(events)
    async with open_service(
        tmp_path, dynamodb_local, catalog, reflection="authenticated"
    ) as service:
        channel: Any = service.channel
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(metadata=service.metadata(), timeout=30)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        await call.write(request)
        assert (await call.read()).list_services_response.service
        service.write_keys(make_key("another"))
        await eventually(lambda: _is_refused(service))
        await call.write(request)
        assert await call.code() is grpc.StatusCode.UNAUTHENTICATED


async def _is_refused(service: Service) -> bool:
    try:
        await services(service, with_key=True)
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.UNAUTHENTICATED
    return False
