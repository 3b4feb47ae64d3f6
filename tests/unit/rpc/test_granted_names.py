"""Tests that the granted ones of thousands of tables are found once, not at every page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, cast

import pytest

from dynamodb_processor.v1.catalog_service_pb2 import ListTablesRequest
from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.rpc.services import catalog as catalog_servicer
from dynamodb_processor_server.rpc.services.catalog import CatalogServicer
from tests.support.limits import principal
from tests.support.work import counted_work
from tests.unit.catalog.describer import Describer, catalog_config

_TABLES: Final = 3_000
_MOST_STEPS: Final = 500  # for a page of one table
_NAMES: Final = tuple(f"team-{n % 30:02}-{n:05}".ljust(250, "x") for n in range(_TABLES))
_GRANTS: Final = tuple(Grant(f"team-{n:02}-*x") for n in range(30))


class _ManyTables(Describer):
    async def list_names(self) -> Sequence[str]:
        """Return thousands of names of nearly the greatest length."""
        self.list_count += 1
        return list(_NAMES)


@pytest.fixture
def calling(monkeypatch: pytest.MonkeyPatch) -> Callable[[Principal], None]:
    """A function that sets the caller of the current call."""

    class _Call:
        caller: Principal

    call = _Call()
    monkeypatch.setattr(catalog_servicer, "current_call", lambda: call)
    return lambda caller: setattr(call, "caller", caller)


async def test_a_page_of_thousands_of_tables_takes_little(
    calling: Callable[[Principal], None], show_line: Callable[[str], None]
) -> None:
    """Later pages neither sort all names nor match them with thirty patterns."""
    servicer = CatalogServicer(
        Catalog(catalog_config(["team-*"]), _ManyTables()), cast("Any", None)
    )
    context = cast("Any", None)
    calling(replace(principal("reader"), grants=_GRANTS))
    first = await servicer.ListTables(ListTablesRequest(page_size=1), context)
    with counted_work() as work:
        page = await servicer.ListTables(
            ListTablesRequest(page_size=1, page_token=first.next_page_token), context
        )
    show_line(f"a page of 1 of {_TABLES} tables, 30 patterns: {work.calls} steps")
    assert [table.name for table in page.tables] == sorted(_NAMES)[1:2]
    assert work.calls <= _MOST_STEPS


async def test_names_are_cached_for_one_catalog_and_one_grant(
    calling: Callable[[Principal], None],
) -> None:
    """New keys, another list of tables and another catalog take effect at once."""
    describer = _ManyTables()
    catalog = Catalog(catalog_config(["team-0[01]-*"]), describer)
    servicer = CatalogServicer(catalog, cast("Any", None))

    async def count() -> int:
        request = ListTablesRequest(page_size=1_000)
        return len((await servicer.ListTables(request, cast("Any", None))).tables)

    reader = replace(principal("reader"), grants=_GRANTS[:1])
    calling(reader)
    assert await count() == 100
    calling(replace(reader, grants=_GRANTS[:2]))
    assert await count() == 200
    calling(replace(reader, grants=()))
    assert await count() == 0
    calling(replace(reader, grants=_GRANTS[:2]))
    assert await count() == 200
    catalog.replace(catalog_config(["team-01-*"]))
    assert await count() == 100
