"""`ddbq`: reads tables through the service from the command line.

    ddbq query flights 'carrier = :c AND distance > :d' -p c=UA -p d:=1000 --max-items 5
    ddbq stream audit_events 'user_id = :u' -p u=u-1 | jq .action
    ddbq tables

On a terminal the results are tables, otherwise one JSON object a line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Sequence
from decimal import Decimal
from io import TextIOWrapper
from typing import Any

import grpc
from rich.console import Console

from dynamodb_processor_client.client import QueryClient
from dynamodb_processor_client.errors import QueryError
from dynamodb_processor_client.pages import Page
from dynamodb_processor_client.rendering import (
    StreamProgress,
    items_grid,
    rows_grid,
    table_fields,
    table_grid,
    to_json,
)
from dynamodb_processor_client.values import Item, Value, encode

_DEFAULT_TARGET = "127.0.0.1:50051"
_SERVICE_ERROR = 1
_INTERRUPTED = 130  # 128 + SIGINT
_BROKEN_PIPE = 141  # 128 + SIGPIPE

_PARAMETER = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<sign>:?=)(?P<text>.*)", re.DOTALL)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    0 is success, 1 an error of the service, 2 (from argparse) a mistake in the arguments, 130 an
    interruption, 141 a reader of the output that went away.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if isinstance(sys.stdout, TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")  # As JSON has to be, whatever the locale.
    try:
        client = _client(arguments)
    except ValueError as error:
        parser.error(str(error))
    try:
        asyncio.run(_run(client, arguments))
        sys.stdout.flush()
    except QueryError as error:
        _report(error)
        return _SERVICE_ERROR
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # What is still buffered would fail again when the interpreter flushes it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    return 0


async def _run(client: QueryClient, arguments: argparse.Namespace) -> None:
    async with client:
        match arguments.command:
            case "query":
                await _query(client, arguments)
            case "stream":
                await _stream(client, arguments)
            case _ if arguments.table:
                await _describe(client, arguments.table)
            case _:
                await _list(client)


async def _query(client: QueryClient, arguments: argparse.Namespace) -> None:
    page = await client.query(**_options(arguments), page_token=arguments.token)
    _print_items(page.items, arguments.project)
    if page.next_page_token:
        print(f"more with: --token {page.next_page_token}", file=sys.stderr)


async def _stream(client: QueryClient, arguments: argparse.Namespace) -> None:
    pages = client.pages(**_options(arguments), resume_token=arguments.token)
    with StreamProgress(Console(stderr=True)) as progress:
        async for page in pages:
            _print_page(page, arguments.project, progress)
            progress.page(pages.stats)


def _print_page(page: Page, projection: Sequence[str], progress: StreamProgress) -> None:
    if not page.items:
        return
    if not sys.stdout.isatty():
        _print_items(page.items, projection)
        return
    progress.pause()
    _print_items(page.items, projection)
    progress.go_on()


async def _list(client: QueryClient) -> None:
    tables = await client.tables()
    if sys.stdout.isatty():
        rows = [(table.name, table.description) for table in tables]
        Console().print(rows_grid(("table", "description"), rows))
    else:
        for table in tables:
            print(to_json({"name": table.name, "description": table.description}))


async def _describe(client: QueryClient, name: str) -> None:
    table = await client.table(name)
    if sys.stdout.isatty():
        Console().print(table_grid(table))
    else:
        print(to_json(table_fields(table)))


def _print_items(items: Sequence[Item], projection: Sequence[str]) -> None:
    if sys.stdout.isatty():
        Console().print(items_grid(items, projection))
    else:
        print(*map(to_json, items), sep="\n", end="\n" if items else "", flush=True)


def _report(error: QueryError) -> None:
    call = f" (request {error.request_id})" if error.request_id else ""
    print(f"ddbq: {error}{call}".replace("\n", " "), file=sys.stderr)
    if error.resume_token:
        print(f"go on with: --token {error.resume_token}", file=sys.stderr)


def _client(arguments: argparse.Namespace) -> QueryClient:
    return QueryClient(
        arguments.target or os.environ.get("DDBQ_TARGET") or _DEFAULT_TARGET,
        api_key=arguments.api_key or os.environ.get("DDBQ_API_KEY"),
        credentials=grpc.ssl_channel_credentials() if arguments.tls else None,
        timeout=arguments.timeout,
    )


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "table": arguments.table,
        "expression": arguments.expression,
        "parameters": dict(arguments.parameters),
        "index": arguments.index,
        "descending": arguments.descending,
        "projection": arguments.project,
        "consistent": arguments.strong,
        "max_items": arguments.max_items,
        "page_size": arguments.page_size,
    }


def _parameter(argument: str) -> tuple[str, Value]:
    """Read `name=text` or `name:=json`."""
    match = _PARAMETER.fullmatch(argument)
    if match is None:
        raise argparse.ArgumentTypeError(f"not name=text or name:=json: {argument!r}")
    try:
        value = _json(match["text"]) if match["sign"] == ":=" else match["text"]
        encode(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{match['name']}: {error}") from error
    return match["name"], value


def _json(text: str) -> Value:
    def refuse(constant: str) -> None:
        raise ValueError(f"JSON has no {constant}")

    value: Value = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=refuse)
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ddbq", description="Read DynamoDB tables through the DynamoDB Processor."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    query = commands.add_parser("query", help="print one page")
    _add_query_arguments(query, timeout=60.0)
    stream = commands.add_parser("stream", help="print everything, page by page")
    _add_query_arguments(stream, timeout=None)
    tables = commands.add_parser("tables", help="list the tables, or show one table's keys")
    tables.add_argument("table", nargs="?", metavar="TABLE", help="the table to show")
    _add_connection_arguments(tables, timeout=60.0)
    return parser


def _add_query_arguments(parser: argparse.ArgumentParser, *, timeout: float | None) -> None:
    add = parser.add_argument
    add("table", metavar="TABLE", help="the table's name in the catalog")
    add("expression", metavar="EXPRESSION", nargs="?", default="", help="the condition")
    add(
        "-p",
        dest="parameters",
        metavar="NAME=TEXT",
        action="append",
        default=[],
        type=_parameter,
        help="the value of :NAME as text; NAME:=JSON for numbers, booleans, null, lists and maps",
    )
    add("--index", metavar="NAME", help='use this index or fail; "@table" for the base table')
    add("--descending", action="store_true", help="largest sort key first")
    add(
        "--project",
        metavar="PATH",
        action="append",
        default=[],
        help="print this attribute (may be given again); everything without it",
    )
    add("--strong", action="store_true", help="read strongly")
    add("--max-items", metavar="N", type=int, help="stop after this many items")
    add("--page-size", metavar="N", type=int, default=0, help="items per page")
    add("--token", metavar="TOKEN", default="", help="go on where an earlier command stopped")
    _add_connection_arguments(parser, timeout=timeout)


def _add_connection_arguments(parser: argparse.ArgumentParser, *, timeout: float | None) -> None:
    add = parser.add_argument
    limit = "none" if timeout is None else f"{timeout:g}"
    add(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=timeout,
        help=f"give up after this long (default: {limit})",
    )
    add("--target", metavar="ADDRESS", help=f"default: $DDBQ_TARGET, or {_DEFAULT_TARGET}")
    add("--api-key", metavar="KEY", help="default: $DDBQ_API_KEY, where other users cannot see it")
    add("--tls", action="store_true", help="connect with TLS")


if __name__ == "__main__":
    sys.exit(main())
