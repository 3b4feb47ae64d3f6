"""The catalog at work: declarations joined with what DynamoDB says the tables are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Final, Protocol

import structlog
from cachetools import LRUCache, TTLCache

from dynamodb_processor_server.catalog.config import CatalogConfig, TableConfig
from dynamodb_processor_server.catalog.schema import Table, TableSchema
from dynamodb_processor_server.errors import BackendRefused, BackendUnavailable, TableNotFound
from dynamodb_processor_server.runtime.fair_turns import FairTurns
from dynamodb_processor_server.runtime.single_flight import SingleFlight

_log = structlog.get_logger(__name__)

# Names that a pattern matches come from callers: what does not exist is remembered for a while, and
# few are described at a time, so that guessing names costs DynamoDB next to nothing.
_ABSENT_SECONDS: Final = 30.0
_ABSENT_NAMES: Final = 1_000
_CONCURRENT_DESCRIBES: Final = 4
_MOST_OF_ONE_CALLER: Final = 3  # of these, so that who guesses names does not hold up the others
_CONCURRENT_REFRESHES: Final = 8  # one table whose description hangs does not hold up the others
_DISCOVERED_TABLES: Final = 1_000
# Reads may contradict a description again and again; DynamoDB is asked so often at most.
_AGAIN_SECONDS: Final = 1.0
# The list of all names takes a request for each hundred of them.
_LIST_SECONDS: Final = 5.0
_LIST: Final = "the list of tables"


class Describer(Protocol):
    """Says what tables there are and what they look like."""

    async def describe(self, name: str, declaration: TableConfig) -> TableSchema:
        """Return a table's schema; raise TableNotFound or BackendUnavailable."""
        ...

    async def list_names(self) -> Sequence[str]:
        """Return the names of all tables in DynamoDB."""
        ...


class Catalog:
    """The tables that can be read, by logical name.

    `version` changes whenever an answer of `table` may have changed; what is derived from tables is
    remembered under it. `complete` is set while every named table has been described.
    """

    def __init__(
        self,
        declaration: CatalogConfig,
        describer: Describer,
        patience: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        asker: Callable[[], str] = lambda: "",
    ) -> None:
        """Create a catalog of which nothing is known yet.

        Args:
            declaration: What is in force until it is replaced.
            describer: Who is asked.
            patience: Seconds that a call waits for an answer at most.
            clock: Seconds, never going back.
            asker: Names the principal whose call is served; empty for none.
        """
        self.version = 0
        self.complete = asyncio.Event()
        self._declaration = declaration
        self._describer = describer
        self._tables: dict[str, Table] = {}
        # The last event and reason, by table; names may be callers' guesses, so it is bounded.
        self._logged: LRUCache[str, tuple[str, str]] = LRUCache(_DISCOVERED_TABLES)
        self._absent: TTLCache[str, None] = TTLCache(_ABSENT_NAMES, _ABSENT_SECONDS, clock)
        self._listed: TTLCache[str, Sequence[str]] = TTLCache(1, _LIST_SECONDS, clock)
        # What `names` was last made of, and what it was.
        self._names: tuple[Sequence[str], Sequence[str], Sequence[str]] | None = None
        self._first_uses = SingleFlight[None](patience)
        self._again = SingleFlight[None](patience)
        self._described_again: TTLCache[str, None] = TTLCache(_ABSENT_NAMES, _AGAIN_SECONDS, clock)
        self._lists = SingleFlight[Sequence[str]](patience)
        self._asker = asker
        self._describing = FairTurns(_CONCURRENT_DESCRIBES, _MOST_OF_ONE_CALLER)
        if not self.missing:
            self.complete.set()

    @property
    def missing(self) -> list[str]:
        """Named tables that have not been described yet."""
        return [name for name in self._declaration.tables if name not in self._tables]

    @property
    def declaration(self) -> CatalogConfig:
        """The declaration in force."""
        return self._declaration

    def known(self, name: str) -> Table | None:
        """Return a table that has been described already, or None."""
        return self._tables.get(name)

    async def table(self, name: str) -> Table:
        """Return a table, describing it first if this is the first use.

        Raises TableNotFound and BackendUnavailable; and, where describing takes long, Overloaded
        and DeadlineExceeded.
        """
        table = self._tables.get(name)
        if table is not None:
            return table
        declaration = self._declaration.declaration_for(name)
        if declaration is None or name in self._absent:
            raise TableNotFound(f"table {name} does not exist")
        if name not in self._declaration.tables and len(self._tables) >= _DISCOVERED_TABLES:
            raise BackendUnavailable("too many tables have been discovered", retry_after=60.0)
        asker = self._asker()
        self._describing.join(name, asker)
        describe = partial(self._describe_first, name, declaration, asker)
        await self._first_uses.call(name, describe, asker)
        # Where the declaration was replaced meanwhile, the new one decides.
        return self._tables.get(name) or await self.table(name)

    async def names(self) -> Sequence[str]:
        """Return the names of all tables that exist, described or not, in order.

        The answer is the same object for as long as it says the same, and is not to be changed.
        Where patterns need DynamoDB's list, it may be some seconds old. Then this raises
        BackendUnavailable and, where listing takes long, Overloaded and DeadlineExceeded.
        """
        named = [name for name in self._declaration.tables if name not in self._absent]
        discovered = await self._discovered_names() if self._declaration.discover else ()
        if self._names is None or self._names[:2] != (named, discovered):
            self._names = named, discovered, sorted({*named, *discovered})
        return self._names[2]

    async def refresh(self) -> None:
        """Describe every named and every discovered table again.

        What cannot be described now stays as it was, except tables that no longer exist. Whatever
        is wrong with one table is logged when it changes, and keeps no other from being described.
        """
        names = iter(list(dict.fromkeys((*self._declaration.tables, *self._tables))))

        async def refresh_in_turn() -> None:
            for name in names:
                declaration = self._declaration.declaration_for(name)
                if declaration is not None:
                    await self._refresh(name, declaration)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(_CONCURRENT_REFRESHES):
                tasks.create_task(refresh_in_turn())

    async def describe_again(self, name: str) -> None:
        """Describe one table whose description a read has contradicted.

        `version` tells whether that changed anything. Calls that ask at the same time share one
        description, and within a second of it there is no other. Raises Overloaded and
        DeadlineExceeded.
        """
        declaration = self._declaration.declaration_for(name)
        if declaration is not None and name not in self._described_again:
            await self._again.call(name, partial(self._refresh_once, name, declaration))

    async def _refresh_once(self, name: str, declaration: TableConfig) -> None:
        await self._refresh(name, declaration)
        self._described_again[name] = None

    async def _refresh(self, name: str, declaration: TableConfig) -> None:
        """Describe one table again and log what is wrong with it; raise nothing."""
        try:
            await self._describe(name, declaration)
        except TableNotFound as error:
            self._log_change(name, "table_missing", str(error), dynamodb_table=declaration.table)
        except (BackendUnavailable, BackendRefused) as error:
            self._log_failure(name, error)
        except Exception as error:  # noqa: BLE001 - one table does not end the round of the others
            reason = f"{type(error).__name__}: {error}"
            self._log_change(name, "table_not_described", reason, exc_info=error)

    def _log_failure(self, name: str, error: Exception) -> None:
        cause = error.__cause__
        reason = str(error) if cause is None else f"{error} ({cause})"
        self._log_change(name, "table_not_described", reason)

    def _log_change(self, name: str, event: str, reason: str, **more: Any) -> None:
        """Log what is wrong with a table, unless it was the last thing logged of it."""
        if self._logged.get(name) != (event, reason):
            self._logged[name] = (event, reason)
            _log.warning(event, table=name, reason=reason, **more)

    async def follow(
        self, every: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Refresh every so many seconds, sooner while a named table is missing, until cancelled."""
        while True:
            await sleep(min(every, 5.0) if self.missing else every)
            try:
                await self.refresh()
            except Exception:  # noqa: BLE001 - the next turn may fare better
                _log.exception("catalog_refresh_failed")

    def replace(self, declaration: CatalogConfig) -> None:
        """Put a new declaration in force; what is known of unchanged tables is kept."""
        self._declaration = declaration
        self._tables = {
            name: table
            for name, table in self._tables.items()
            if declaration.declaration_for(name) == table.declaration
        }
        self._absent.clear()
        self._listed.clear()
        self._logged.clear()
        self._first_uses.forget()
        self._again.forget()
        self._described_again.clear()
        self._changed()

    async def _discovered_names(self) -> Sequence[str]:
        names = self._listed.get(_LIST)
        return await self._lists.call(_LIST, self._list, self._asker()) if names is None else names

    async def _list(self) -> Sequence[str]:
        """List what the patterns match, which takes long where tables are many."""
        all_names = await self._describer.list_names()
        patterns = self._declaration.discover  # those of now
        names = self._listed[_LIST] = [
            name for name in all_names if any(fnmatchcase(name, pattern) for pattern in patterns)
        ]
        return names

    async def _describe_first(self, name: str, declaration: TableConfig, asker: str) -> None:
        async with self._describing.turn(name, asker):
            if name not in self._tables:
                try:
                    await self._describe(name, declaration)
                except BackendUnavailable as error:
                    self._log_failure(name, error)
                    raise

    async def _describe(self, name: str, declaration: TableConfig) -> None:
        try:
            schema = await self._describer.describe(name, declaration)
        except TableNotFound:
            if self._was_replaced(name, declaration):
                return
            self._absent[name] = None
            if self._tables.pop(name, None):
                self._changed()
            raise
        if self._was_replaced(name, declaration):
            return
        self._absent.pop(name, None)
        table = Table(name, declaration, schema)
        if table.schema_conflicts:
            raise BackendRefused(f"catalog: tables.{name}: {'; '.join(table.schema_conflicts)}")
        if schema.skipped:
            self._log_change(name, "indexes_skipped", "; ".join(schema.skipped))
        else:
            self._logged.pop(name, None)
        if self._tables.get(name) != table:
            self._tables[name] = table
            self._changed()

    def _was_replaced(self, name: str, declaration: TableConfig) -> bool:
        """Return whether what DynamoDB was asked for is in force no longer."""
        return self._declaration.declaration_for(name) != declaration

    def _changed(self) -> None:
        self.version += 1
        if self.missing:
            self.complete.clear()
        else:
            self.complete.set()
