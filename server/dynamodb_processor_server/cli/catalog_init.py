"""The `catalog init` command: writes a starting catalog from the existing tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from dynamodb_processor_server.catalog.config import CatalogConfig
from dynamodb_processor_server.catalog.description import DescriptionError, parse_description
from dynamodb_processor_server.catalog.schema import TableSchema
from dynamodb_processor_server.catalog.table_arn import name_of, region_of
from dynamodb_processor_server.cli.catalog_text import FoundTable, catalog_text, units
from dynamodb_processor_server.cli.proposals import propose
from dynamodb_processor_server.cli.setting_flags import settings_of
from dynamodb_processor_server.config_files import ConfigDocument
from dynamodb_processor_server.config_files.atomic_write import replace_file
from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.dynamodb.inventory import (
    InventoryError,
    OperationDenied,
    Sample,
    TableInventory,
)
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.telemetry.logs import configure_logs

_MAX_TABLES: Final = 100
_MAX_SAMPLE: Final = 1_000
_WILDCARDS: Final = frozenset("*?[")
_ABOUT: Final = """\
Write a starting catalog from the tables that DynamoDB has: their keys, indexes and sizes, and, from
the first items of each, proposals that an operator confirms. It reads and never writes to DynamoDB.
It needs dynamodb:DescribeTable, and, where it may, uses dynamodb:ListTables,
dynamodb:DescribeTimeToLive and dynamodb:Scan.
"""

Run = Callable[[Coroutine[Any, Any, int]], int]


def add_actions(parser: argparse.ArgumentParser, run: Run) -> None:
    """Add the actions of the `catalog` command to its parser; `run` runs a coroutine."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    init = actions.add_parser("init", help="write a starting catalog", description=_ABOUT)
    init.add_argument("--endpoint-url", dest="setting_endpoint_url", metavar="URL",
                      help="a DynamoDB endpoint other than AWS's, such as a local one")  # fmt: skip
    init.add_argument("--region", dest="setting_region", metavar="REGION", help="the AWS region")
    init.add_argument(
        "--table", action="append", metavar="PATTERN",
        help="a table's name or ARN, or a pattern such as 'orders-*'; may be repeated "
        "(default: all)",
    )  # fmt: skip
    init.add_argument(
        "--sample", type=_sample_size, default=100, metavar="N",
        help=f"items to read of each table, 0 to {_MAX_SAMPLE} (default: %(default)s)",
    )  # fmt: skip
    init.add_argument("--output", type=Path, metavar="FILE",
                      help="the file to write (default: standard output)")  # fmt: skip
    init.add_argument("--force", action="store_true", help="replace a file that exists")
    init.set_defaults(run=lambda args: run(_init(args)))


def _sample_size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > _MAX_SAMPLE:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to {_MAX_SAMPLE}")
    return int(text)


async def _init(args: argparse.Namespace) -> int:
    """Write the catalog; return 0, or 1 if a table could not be described.

    Raises ConfigurationError where nothing can be written.
    """
    if args.output is not None and args.output.exists() and not args.force:
        raise ConfigurationError(f"{args.output}: exists already; --force replaces it")
    # The command serves nothing, so it needs neither of the files that the settings require.
    args.setting_catalog = args.setting_keys = Path()
    settings = settings_of(args)
    configure_logs("console", "ERROR")  # this command prints its own error messages
    async with Clients(settings.client_settings()) as clients:
        inventory = TableInventory(clients, Backend(clients, settings.backend_settings()))
        try:
            names = await _names(inventory, args.table or ["*"])
            regions = dict.fromkeys(map(region_of, names))
            endpoint = " and ".join([await clients.endpoint(region) for region in regions])
            tables = [await _inspect(inventory, name, args.sample) for name in names]
        except InventoryError as error:
            raise ConfigurationError(str(error)) from None
    text = catalog_text(tables, _header(tables, endpoint))
    described = [table for table in tables if table.schema is not None]
    if not described:
        raise ConfigurationError("\n".join(note for table in tables for note in table.notes))
    # A catalog that the server would refuse must not be written.
    ConfigDocument(Path("catalog.yaml"), text.encode()).parse(CatalogConfig)
    _write(text, args.output, force=args.force)
    _print_next_steps(described, args.output, settings)
    return 0 if len(described) == len(tables) else 1


async def _names(inventory: TableInventory, patterns: Sequence[str]) -> list[str]:
    """Return the tables that patterns match, by name or ARN, each with another name.

    Names and ARNs without wildcards need no ListTables.
    """
    plain = [pattern for pattern in patterns if _WILDCARDS.isdisjoint(pattern)]
    if len(plain) == len(patterns):
        return _unique(plain)
    try:
        listed = await inventory.names()
    except OperationDenied as error:
        raise InventoryError(f"{error}; name the tables with --table NAME, without * ? [") from None
    found = [name for name in listed if any(fnmatchcase(name, one) for one in patterns)]
    found += [table for table in plain if region_of(table) is not None]
    if not found:
        there = f"of {len(listed)} tables" if listed else "there is no table here"
        raise InventoryError(f"no table matches {' or '.join(patterns)}: {there}")
    if len(found) > _MAX_TABLES:
        raise InventoryError(
            f"{len(found)} tables match, more than {_MAX_TABLES}; choose some with --table PATTERN"
        )
    return _unique(found)


def _unique(tables: Sequence[str]) -> list[str]:
    """Return tables without repetitions; raise InventoryError for two with the same name."""
    by_name: dict[str, str] = {}
    for table in tables:
        if by_name.setdefault(name_of(table), table) != table:
            raise InventoryError(
                f"two tables are called {name_of(table)}: write a catalog of each, and give one "
                "another name"
            )
    return list(by_name.values())


async def _inspect(inventory: TableInventory, name: str, size: int) -> FoundTable:
    try:
        description = await inventory.describe(name)
    except OperationDenied as error:
        notes = (f"is not described: {error}",)
        return FoundTable(name, None, {}, None, 0, 0.0, None, notes)
    schema = _schema(description)
    if schema is None:
        notes = (f"is {description.get('TableStatus', 'not described')}, and left out",)
        return FoundTable(name, None, description, None, 0, 0.0, None, notes)
    notes_found: list[str] = []
    time_to_live = None
    try:
        time_to_live = await inventory.time_to_live(name)
    except InventoryError as error:
        notes_found.append(f"time_to_live is not known: {error}.")
    sample = None
    if size:
        try:
            sample = await inventory.sample(name, size)
        except InventoryError as error:
            notes_found.append(f"No sample: {error}.")
    proposals = propose(schema, sample.items) if sample is not None else None
    sample = sample or Sample((), 0.0)
    return FoundTable(
        name,
        schema,
        description,
        time_to_live,
        len(sample.items),
        sample.read_units,
        proposals,
        notes_found,
    )


def _schema(description: Any) -> TableSchema | None:
    """Return a table's schema, None where it is being deleted and has none."""
    try:
        return parse_description(description)
    except DescriptionError:
        return None


def _header(tables: Sequence[FoundTable], endpoint: str) -> list[str]:
    items = sum(table.sampled for table in tables)
    used = units(sum(table.read_units for table in tables))
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    return [
        f"A starting catalog, written by `dynamodb-processor catalog init` on {today}",
        f"from {endpoint}. Sampled: {items} items in all, for {used}.",
        "Lines that begin with # and no space are proposals: delete the # of those that you can",
        "confirm. `dynamodb-processor config` says what is not in use, and why.",
    ]


def _write(text: str, output: Path | None, *, force: bool) -> None:
    if output is None:
        print(text, end="")
        return
    if force:
        replace_file(output, text)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:  # another process has just created it
        raise ConfigurationError(f"{output}: exists already; --force replaces it") from None
    except OSError as error:
        raise ConfigurationError(f"{output}: cannot be written: {error.strerror}") from None


def _print_next_steps(
    tables: Sequence[FoundTable], output: Path | None, settings: Settings
) -> None:
    flags = "".join(
        f" --{name} {value}"
        for name, value in (("endpoint-url", settings.endpoint_url), ("region", settings.region))
        if value
    )
    file = output or "catalog.yaml"
    print(
        f"{len(tables)} table{'s' if len(tables) != 1 else ''} written"
        f"{f' to {output}' if output else ''}. Next: confirm its proposals, then\n"
        "  dynamodb-processor keys create --principal NAME --table "
        f"'{tables[0].logical_name}' --append keys.yaml\n"
        f"  dynamodb-processor config --catalog {file} --keys keys.yaml{flags}\n"
        f"  dynamodb-processor serve --catalog {file} --keys keys.yaml{flags}",
        file=sys.stderr,
    )
