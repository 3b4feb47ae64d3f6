"""Starts the calls that concern one table."""

from __future__ import annotations

from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.limits.call_rate import Limiter
from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.table_access import TableAccess, open_table


class TableCalls:
    """Gives a call access to the table that it names, and charges the call to its caller."""

    def __init__(self, catalog: Catalog, limiter: Limiter) -> None:
        self._catalog = catalog
        self._limiter = limiter

    async def open(self, call: Call, name: str) -> TableAccess:
        """Return the caller's access to a table, after recording it and charging the call.

        Raises as `open_table`, and RateLimited.
        """
        call.table = name
        call.access = access = await open_table(self._catalog, call.caller, name)
        if (waiting := self._limiter.charge(call.caller, name)) is not None:
            await waiting
        return access
