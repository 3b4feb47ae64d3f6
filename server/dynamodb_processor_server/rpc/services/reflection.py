"""Implements server reflection; its calls, which a client may keep open, end with the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from grpc_reflection.v1alpha import reflection


class Reflection:
    """The standard servicer. `draining` is set when calls must end because the server stops."""

    def __init__(self, service_names: Sequence[str], draining: asyncio.Event) -> None:
        self._servicer: Any = reflection.aio.ReflectionServicer(service_names)
        self._draining = draining

    async def ServerReflectionInfo(  # noqa: N802 - the method's name in its contract
        self, request_iterator: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[Any]:
        """Answer each request, until there are no more or the server stops."""
        requests = self._until_draining(request_iterator)
        async for response in self._servicer.ServerReflectionInfo(requests, context):
            yield response

    async def _until_draining(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        draining = asyncio.ensure_future(self._draining.wait())
        try:
            while not draining.done():
                received = asyncio.ensure_future(anext(requests, None))
                try:
                    await asyncio.wait((received, draining), return_when=asyncio.FIRST_COMPLETED)
                    if not received.done() or (request := received.result()) is None:
                        return
                finally:
                    received.cancel()
                yield request
        finally:
            draining.cancel()
