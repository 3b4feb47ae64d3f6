"""The commands of `ddbq` that read: each writes its results, and notes beside them."""

from __future__ import annotations

import argparse
import os
import shlex
import stat
import sys
from dataclasses import asdict
from typing import Final

from rich.console import Console
from rich.text import Text

from dynamodb_processor_client.client import QueryClient
from dynamodb_processor_client.exit_codes import DONE, FAILED
from dynamodb_processor_client.hints import Hints
from dynamodb_processor_client.options import CachePolicy
from dynamodb_processor_client.output import Output, note
from dynamodb_processor_client.pages import CacheInfo, Page, PageStats, Total
from dynamodb_processor_client.query import Query
from dynamodb_processor_client.rendering import (
    cache_grid,
    explanation_fields,
    explanation_tree,
    rows_grid,
    stats_text,
    table_fields,
    table_view,
    to_json,
)
from dynamodb_processor_client.stream_progress import StreamProgress
from dynamodb_processor_client.time_left import TimeLeft


async def run_command(client: QueryClient, arguments: argparse.Namespace) -> int:
    """Run a command and return its exit code.

    Raises:
        QueryError: The service refused or failed.
        OutputFailed: The results cannot be written.
        ExportError: An export cannot begin, be resumed or go on.
    """
    is_explained = "explain" in arguments and arguments.explain
    if arguments.command == "stream" and arguments.output.file and not is_explained:
        from dynamodb_processor_client.export_command import export

        return await export(client, arguments)
    form = arguments.output.form
    if is_explained and form in ("csv", "parquet"):
        form = "json"
    output = Output(form, columns=arguments.columns, leading=getattr(arguments, "project", ()))
    if is_explained or arguments.command == "explain":
        await _explain(client, arguments, output)
        return DONE
    if arguments.command == "get":
        return await _get(client, arguments, output)
    command = _COMMANDS[arguments.command]
    await command(client, arguments, output)
    return DONE


async def _query(client: QueryClient, arguments: argparse.Namespace, output: Output) -> None:
    page = await client.query(
        query_of(arguments),
        page_size=arguments.page_size,
        page_token=arguments.token,
        cache=cache_of(arguments),
        total=arguments.total,
        timeout=arguments.timeout,
    )
    output.items(page.items)
    output.end()
    note_total(page.total)
    if page.next_page_token:
        note(f"more with: --token {shlex.quote(page.next_page_token)}")
    note_cost(arguments, page.stats, page.cache)
    hints = Hints(client, arguments)
    hints.check_types(page.items)
    hints.on_missing_attributes(page.items)
    if not page.items and not page.next_page_token:
        await hints.on_empty_result()


async def _stream(client: QueryClient, arguments: argparse.Namespace, output: Output) -> None:
    query = query_of(arguments)
    pages = client.pages(
        query,
        page_size=arguments.page_size,
        resume_token=arguments.token,
        cache=cache_of(arguments),
        total=arguments.total,
        timeout=arguments.timeout,
    )
    hints, last = Hints(client, arguments), None
    with progress_of(arguments) as progress:
        async with TimeLeft(client, query, progress, up_to=arguments.eta) as time_left:
            async for page in pages:
                if page.items:
                    _show(page, output, progress)
                    hints.check_types(page.items)
                time_left.on_total(page.total)
                progress.page(pages.stats)
                last = page
    output.end()
    time_left.note_cost()
    note_total(pages.total)
    note_cost(arguments, pages.stats, last.cache if last else None)
    if not pages.stats.items_returned:
        await hints.on_empty_result()


def _show(page: Page, output: Output, progress: StreamProgress) -> None:
    if not sys.stdout.isatty():
        output.items(page.items)
        return
    progress.pause()
    output.items(page.items)
    progress.go_on()


def progress_of(arguments: argparse.Namespace) -> StreamProgress:
    """Return the progress line, which is shown on a terminal, or where the options say."""
    on_terminal = sys.stderr.isatty()
    is_shown: bool | None = arguments.progress
    if is_shown is None:
        # The reader of the pipe may write to the same terminal, into the middle of the line.
        is_shown = on_terminal and not stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
    console = Console(stderr=True, force_terminal=on_terminal)
    return StreamProgress(console, is_shown=is_shown and not console.is_dumb_terminal)


def note_total(total: Total | None) -> None:
    """Print the number of items that the query matches."""
    if total is not None:
        note(f"total: {'' if total.exact else 'at least '}{total.value}")


def note_cost(
    arguments: argparse.Namespace, stats: PageStats, cache: CacheInfo | None = None
) -> None:
    """Print the cost of a result with `-v`."""
    if arguments.verbose:
        note(stats_text(stats, cache))


async def _count(client: QueryClient, arguments: argparse.Namespace, output: Output) -> None:
    count = await client.count(
        query_of(arguments),
        up_to=arguments.up_to,
        cache=cache_of(arguments),
        timeout=arguments.timeout,
    )
    output.value(count.value, Text(str(count.value)))
    if not count.exact:
        note("there may be more")
    note_cost(arguments, count.stats, count.cache)
    if not count.value:
        await Hints(client, arguments).on_empty_result()


async def _get(client: QueryClient, arguments: argparse.Namespace, output: Output) -> int:
    found = await client.get(
        arguments.table,
        arguments.keys,
        projection=arguments.project,
        consistent=arguments.strong,
        cache=cache_of(arguments),
        timeout=arguments.timeout,
    )
    output.items(found)
    output.end()
    missing = [key for key, item in zip(arguments.keys, found, strict=True) if item is None]
    if output.is_for_people or arguments.verbose:
        for key in missing:
            note(f"no item: {to_json(key)}")
    note_cost(arguments, found.stats)
    return FAILED if missing else DONE


async def _explain(client: QueryClient, arguments: argparse.Namespace, output: Output) -> None:
    explanation = await client.explain(query_of(arguments), timeout=arguments.timeout)
    output.value(explanation_fields(explanation), explanation_tree(explanation))


async def _tables(client: QueryClient, arguments: argparse.Namespace, output: Output) -> None:
    if arguments.table:
        table = await client.table(arguments.table)
        output.value(table_fields(table), table_view(table))
        return
    tables = await client.tables()
    output.rows(
        [{"name": table.name, "description": table.description} for table in tables],
        rows_grid(("table", "description"), [(one.name, one.description) for one in tables]),
    )


async def _cache(client: QueryClient, arguments: argparse.Namespace, output: Output) -> None:
    if arguments.cache_command == "stats":
        stats = await client.cache_stats()
        output.value(asdict(stats), cache_grid(stats))
    else:
        await client.invalidate(arguments.table, arguments.key or None)


_COMMANDS: Final = {
    "query": _query,
    "stream": _stream,
    "count": _count,
    "tables": _tables,
    "cache": _cache,
}


def query_of(arguments: argparse.Namespace) -> Query:
    """Return the query of a command."""
    return Query(
        arguments.table,
        arguments.expression,
        parameters=arguments.parameters,
        index=arguments.index,
        descending=arguments.descending,
        projection=arguments.project,
        consistent=arguments.strong,
        max_items=arguments.max_items,
    )


def cache_of(arguments: argparse.Namespace) -> CachePolicy | None:
    """Return the cache policy of a command; None for the service's default."""
    return None if arguments.not_before is None else CachePolicy(not_before=arguments.not_before)
