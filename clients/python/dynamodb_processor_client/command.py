"""`ddbq`: reads tables through the service from the command line.

    ddbq query flights 'carrier = :c AND distance > :d' -p c=UA -p d:=1000 --max-items 5
    ddbq stream audit_events 'user_id = :u' -p u=u-1 | jq .action
    ddbq count audit_events 'user_id = :u' -p u=u-1 --up-to 1000
    ddbq get audit_events --key user_id=u-1 event_id=e-1 --key user_id=u-2 event_id=e-7
    ddbq explain flights "tailnum = 'N14228' AND distance > 1000"
    ddbq tables
    ddbq cache invalidate audit_events user_id=u-1

On a terminal the results are tables, otherwise one JSON object a line.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from io import TextIOWrapper
from typing import Any

import grpc
from rich.console import Console

from dynamodb_processor_client.arguments import DEFAULT_TARGET, command_parser
from dynamodb_processor_client.client import QueryClient
from dynamodb_processor_client.errors import QueryError
from dynamodb_processor_client.pages import Page, Total
from dynamodb_processor_client.rendering import (
    StreamProgress,
    cache_grid,
    explanation_fields,
    explanation_tree,
    items_grid,
    rows_grid,
    table_fields,
    table_grid,
    to_json,
)
from dynamodb_processor_client.values import Item

_SERVICE_ERROR = 1
_INTERRUPTED = 130  # 128 + SIGINT
_BROKEN_PIPE = 141  # 128 + SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    0 is success, 1 an error of the service, 2 (from argparse) a mistake in the arguments, 130 an
    interruption, 141 a reader of the output that went away.
    """
    parser = command_parser()
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
            case "count":
                await _count(client, arguments)
            case "get":
                await _get(client, arguments)
            case "explain":
                await _explain(client, arguments)
            case "cache" if arguments.cache_command == "stats":
                await _cache_stats(client)
            case "cache":
                await client.invalidate(arguments.table, dict(arguments.key) or None)
            case _ if arguments.table:
                await _describe(client, arguments.table)
            case _:
                await _list(client)


async def _query(client: QueryClient, arguments: argparse.Namespace) -> None:
    page = await client.query(**_options(arguments), page_token=arguments.token)
    _print_items(page.items, arguments.project)
    _print_total(page.total)
    if page.next_page_token:
        print(f"more with: --token {page.next_page_token}", file=sys.stderr)


async def _stream(client: QueryClient, arguments: argparse.Namespace) -> None:
    pages = client.pages(**_options(arguments), resume_token=arguments.token)
    with StreamProgress(Console(stderr=True)) as progress:
        async for page in pages:
            _print_page(page, arguments.project, progress)
            progress.page(pages.stats)
    _print_total(pages.total)


def _print_total(total: Total | None) -> None:
    if total is not None:
        print(f"total: {'' if total.exact else 'at least '}{total.value}", file=sys.stderr)


def _print_page(page: Page, projection: Sequence[str], progress: StreamProgress) -> None:
    if not page.items:
        return
    if not sys.stdout.isatty():
        _print_items(page.items, projection)
        return
    progress.pause()
    _print_items(page.items, projection)
    progress.go_on()


async def _count(client: QueryClient, arguments: argparse.Namespace) -> None:
    count = await client.count(
        arguments.table,
        arguments.expression,
        parameters=dict(arguments.parameters),
        index=arguments.index,
        consistent=arguments.strong,
        up_to=arguments.up_to,
    )
    print(count.value)
    if not count.exact:
        print("there may be more", file=sys.stderr)


async def _get(client: QueryClient, arguments: argparse.Namespace) -> None:
    keys = [dict(key) for key in arguments.keys]
    found = await client.get(
        arguments.table, keys, projection=arguments.project, consistent=arguments.strong
    )
    if not sys.stdout.isatty():
        print(*map(to_json, found), sep="\n")
        return
    _print_items([item for item in found if item is not None], arguments.project)
    for key, item in zip(keys, found, strict=True):
        if item is None:
            print(f"no item: {to_json(key)}", file=sys.stderr)


async def _explain(client: QueryClient, arguments: argparse.Namespace) -> None:
    explanation = await client.explain(
        arguments.table,
        arguments.expression,
        parameters=dict(arguments.parameters),
        index=arguments.index,
        descending=arguments.descending,
        projection=arguments.project,
        consistent=arguments.strong,
    )
    if sys.stdout.isatty():
        Console().print(explanation_tree(explanation))
    else:
        print(to_json(explanation_fields(explanation)))


async def _cache_stats(client: QueryClient) -> None:
    stats = await client.cache_stats()
    if sys.stdout.isatty():
        Console().print(cache_grid(stats))
    else:
        print(to_json(asdict(stats)))


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
        arguments.target or os.environ.get("DDBQ_TARGET") or DEFAULT_TARGET,
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
        "total": arguments.total,
    }


if __name__ == "__main__":
    sys.exit(main())
