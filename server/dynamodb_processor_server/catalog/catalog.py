"""The catalog: the operator's configuration joined with DynamoDB's descriptions of the tables."""

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
from dynamodb_processor_server.catalog.shared_calls import SharedCalls
from dynamodb_processor_server.errors import BackendRefused, BackendUnavailable, TableNotFound
from dynamodb_processor_server.runtime.fair_semaphore import FairSemaphore

_log = structlog.get_logger(__name__)

# Callers choose the names that a pattern matches. Names of missing tables are remembered for a
# while, and few tables are described at a time, so that guessed names cost DynamoDB little.
_ABSENT_SECONDS: Final = 30.0
_ABSENT_NAMES: Final = 1_000
_CONCURRENT_DESCRIBES: Final = 4
_DESCRIBES_OF_ONE_CALLER: Final = 3  # a caller that guesses names must not hold up the others
_CONCURRENT_REFRESHES: Final = 8  # a table whose description hangs must not hold up the others
_DISCOVERED_TABLES: Final = 1_000
# Many reads may contradict a description; a table is described again at most this often.
_REPEAT_SECONDS: Final = 1.0
# Listing all names takes a request for each hundred names.
_LIST_SECONDS: Final = 5.0
_LIST: Final = "the list of tables"


class Describer(Protocol):
    """Lists DynamoDB's tables and describes them."""

    async def describe(self, name: str, config: TableConfig) -> TableSchema:
        """Return a table's schema; raise TableNotFound or BackendUnavailable."""
        ...

    async def list_names(self) -> Sequence[str]:
        """Return the names of all tables in DynamoDB."""
        ...


class Catalog:
    """The tables that can be read, by logical name.

    `version` changes whenever a result of `table` may have changed; values derived from tables are
    cached under it. `complete` is set while every named table has been described.
    """

    def __init__(
        self,
        config: CatalogConfig,
        describer: Describer,
        timeout: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        current_principal: Callable[[], str] = lambda: "",
    ) -> None:
        """Create a catalog without any table description.

        Args:
            config: The catalog's configuration; `replace` changes it.
            describer: Gets the tables' descriptions and names.
            timeout: Seconds that a call waits for a description or a list, at most.
            clock: A monotonic clock, in seconds.
            current_principal: Returns the name of the principal whose call is served; empty for
                none.
        """
        self.version = 0
        self.complete = asyncio.Event()
        self._config = config
        self._describer = describer
        self._tables: dict[str, Table] = {}
        # The last event and reason, by table; names may be callers' guesses, so it is bounded.
        self._logged: LRUCache[str, tuple[str, str]] = LRUCache(_DISCOVERED_TABLES)
        self._absent: TTLCache[str, None] = TTLCache(_ABSENT_NAMES, _ABSENT_SECONDS, clock)
        self._listed: TTLCache[str, Sequence[str]] = TTLCache(1, _LIST_SECONDS, clock)
        # The two lists that `names` was last built from, and its result.
        self._names: tuple[Sequence[str], Sequence[str], Sequence[str]] | None = None
        self._first_describes = SharedCalls[None](timeout)
        self._repeated_describes = SharedCalls[None](timeout)
        self._described_recently: TTLCache[str, None] = TTLCache(
            _ABSENT_NAMES, _REPEAT_SECONDS, clock
        )
        self._lists = SharedCalls[Sequence[str]](timeout)
        self._current_principal = current_principal
        self._describe_permits = FairSemaphore(_CONCURRENT_DESCRIBES, _DESCRIBES_OF_ONE_CALLER)
        if not self.missing:
            self.complete.set()

    @property
    def missing(self) -> list[str]:
        """Names of the configured tables that have not been described yet."""
        return [name for name in self._config.tables if name not in self._tables]

    @property
    def config(self) -> CatalogConfig:
        """The configuration in force."""
        return self._config

    def known(self, name: str) -> Table | None:
        """Return a table that has already been described, or None."""
        return self._tables.get(name)

    async def table(self, name: str) -> Table:
        """Return a table; describe it first if this is its first use.

        Raises TableNotFound and BackendUnavailable. Raises Overloaded and DeadlineExceeded if
        describing takes long.
        """
        table = self._tables.get(name)
        if table is not None:
            return table
        config = self._config.config_for(name)
        if config is None or name in self._absent:
            raise TableNotFound(f"table {name} does not exist")
        if name not in self._config.tables and len(self._tables) >= _DISCOVERED_TABLES:
            raise BackendUnavailable("too many tables have been discovered", retry_after=60.0)
        principal = self._current_principal()
        self._describe_permits.join(name, principal)
        describe = partial(self._describe_first, name, config, principal)
        await self._first_describes.call(name, describe, principal)
        # If the configuration was replaced meanwhile, the new one decides.
        return self._tables.get(name) or await self.table(name)

    async def names(self) -> Sequence[str]:
        """Return the sorted names of all existing tables, whether described or not.

        The result is the same object as long as it is equal; callers must not change it. If the
        catalog has patterns, DynamoDB's list is needed, which may be some seconds old. Then this
        raises BackendUnavailable, and Overloaded and DeadlineExceeded if listing takes long.
        """
        named = [name for name in self._config.tables if name not in self._absent]
        discovered = await self._discovered_names() if self._config.discover else ()
        if self._names is None or self._names[:2] != (named, discovered):
            self._names = named, discovered, sorted({*named, *discovered})
        return self._names[2]

    async def refresh(self) -> None:
        """Describe every named and every discovered table again.

        A table that cannot be described now keeps its last description, unless it no longer exists.
        A table's error is logged when it changes, and does not stop the refresh of other tables.
        """
        names = iter(list(dict.fromkeys((*self._config.tables, *self._tables))))

        async def refresh_remaining() -> None:
            for name in names:
                config = self._config.config_for(name)
                if config is not None:
                    await self._refresh(name, config)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(_CONCURRENT_REFRESHES):
                tasks.create_task(refresh_remaining())

    async def describe_again(self, name: str) -> None:
        """Describe one table again, because a read has contradicted its description.

        `version` changes if the description did. Concurrent calls share one request, and there is
        at most one request in a second. Raises Overloaded and DeadlineExceeded.
        """
        config = self._config.config_for(name)
        if config is not None and name not in self._described_recently:
            await self._repeated_describes.call(name, partial(self._refresh_once, name, config))

    async def _refresh_once(self, name: str, config: TableConfig) -> None:
        await self._refresh(name, config)
        self._described_recently[name] = None

    async def _refresh(self, name: str, config: TableConfig) -> None:
        """Describe one table again; log an error instead of raising it."""
        try:
            await self._describe(name, config)
        except TableNotFound as error:
            self._log_change(name, "table_missing", str(error), dynamodb_table=config.table)
        except (BackendUnavailable, BackendRefused) as error:
            self._log_failure(name, error)
        except Exception as error:  # noqa: BLE001 - one table must not end the refresh of the others
            reason = f"{type(error).__name__}: {error}"
            self._log_change(name, "table_not_described", reason, exc_info=error)

    def _log_failure(self, name: str, error: Exception) -> None:
        cause = str(error.__cause__ or "")
        reason = f"{error} ({cause})" if cause else str(error)
        self._log_change(name, "table_not_described", reason)

    def _log_change(self, name: str, event: str, reason: str, **more: Any) -> None:
        """Log an event of a table, unless it is the last one logged for the table."""
        if self._logged.get(name) != (event, reason):
            self._logged[name] = (event, reason)
            _log.warning(event, table=name, reason=reason, **more)

    async def refresh_periodically(
        self, every: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Refresh every `every` seconds, or every 5 while a table is missing, until cancelled."""
        while True:
            await sleep(min(every, 5.0) if self.missing else every)
            try:
                await self.refresh()
            except Exception:  # noqa: BLE001 - the next refresh may succeed
                _log.exception("catalog_refresh_failed")

    def replace(self, config: CatalogConfig) -> None:
        """Put a new configuration in force; descriptions of unchanged tables are kept."""
        self._config = config
        self._tables = {
            name: table
            for name, table in self._tables.items()
            if config.config_for(name) == table.config
        }
        self._absent.clear()
        self._listed.clear()
        self._logged.clear()
        self._first_describes.forget()
        self._repeated_describes.forget()
        self._described_recently.clear()
        self._changed()

    async def _discovered_names(self) -> Sequence[str]:
        names = self._listed.get(_LIST)
        if names is None:
            names = await self._lists.call(_LIST, self._list, self._current_principal())
        return names

    async def _list(self) -> Sequence[str]:
        """List the tables that match a pattern; this takes long in an account with many tables."""
        all_names = await self._describer.list_names()
        patterns = self._config.discover  # read after the await: they may have been replaced
        names = self._listed[_LIST] = [
            name for name in all_names if any(fnmatchcase(name, pattern) for pattern in patterns)
        ]
        return names

    async def _describe_first(self, name: str, config: TableConfig, principal: str) -> None:
        async with self._describe_permits.acquire(name, principal):
            if name not in self._tables:
                try:
                    await self._describe(name, config)
                except BackendUnavailable as error:
                    self._log_failure(name, error)
                    raise

    async def _describe(self, name: str, config: TableConfig) -> None:
        try:
            schema = await self._describer.describe(name, config)
        except TableNotFound:
            if self._was_replaced(name, config):
                return
            self._absent[name] = None
            if self._tables.pop(name, None):
                self._changed()
            raise
        if self._was_replaced(name, config):
            return
        self._absent.pop(name, None)
        table = Table(name, config, schema)
        if table.schema_conflicts:
            raise BackendRefused(f"catalog: tables.{name}: {'; '.join(table.schema_conflicts)}")
        if schema.skipped:
            self._log_change(name, "indexes_skipped", "; ".join(schema.skipped))
        else:
            self._logged.pop(name, None)
        if self._tables.get(name) != table:
            self._tables[name] = table
            self._changed()

    def _was_replaced(self, name: str, config: TableConfig) -> bool:
        """Return whether another configuration of the table is in force by now."""
        return self._config.config_for(name) != config

    def _changed(self) -> None:
        self.version += 1
        if self.missing:
            self.complete.clear()
        else:
            self.complete.set()
