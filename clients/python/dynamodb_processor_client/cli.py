"""`ddbq`: read tables through the service from the command line.

    ddbq query flights 'carrier = :c AND distance > :d' -p c=UA -p d:=1000 --max-items 5
    ddbq stream audit_events 'user_id = :u' -p u=u-1 | jq .action
    ddbq count audit_events 'user_id = :u' -p u=u-1 --up-to 1000
    ddbq get audit_events --key user_id=u-1 event_id=e-1 --key user_id=u-2 event_id=e-7
    ddbq explain flights "tailnum = 'N14228' AND distance > 1000"
    ddbq tables
    ddbq cache invalidate audit_events user_id=u-1

Results are tables on a terminal, and one JSON object a line elsewhere; `--output` selects the form.
Everything else goes to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import stat
import sys
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from dynamodb_processor_client.arguments import parse_arguments
from dynamodb_processor_client.client import QueryClient
from dynamodb_processor_client.command_credential import credential_of
from dynamodb_processor_client.connection_arguments import (
    DEFAULT_TARGET,
    credentials_of,
    name_options,
)
from dynamodb_processor_client.errors import QueryError
from dynamodb_processor_client.hints import Hints
from dynamodb_processor_client.output import Output, OutputFailed, clauses, flush, note
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
from dynamodb_processor_client.terminal import discard_output, prepare_standard_streams

_FAILED = 1
_INTERRUPTED = 130  # 128 + SIGINT
_BROKEN_PIPE = 141  # 128 + SIGPIPE


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; `ddbq --help` lists the statuses.

    Raises:
        SystemExit: The arguments have an error, or ask for help or the version.
    """
    prepare_standard_streams()
    try:
        try:
            arguments = parse_arguments(argv)
            client = _client(arguments)
        except SystemExit:
            flush()
            raise
        status = asyncio.run(_run(client, arguments))
        flush()
    except OutputFailed as error:
        note(f"ddbq: the output cannot be written: {error}")
        return _exit_with(_FAILED)
    except KeyboardInterrupt:
        return _exit_with(_INTERRUPTED)
    except BrokenPipeError:
        return _exit_with(_BROKEN_PIPE)
    return status


def _exit_with(status: int) -> int:
    discard_output()
    return status


async def _run(client: QueryClient, arguments: argparse.Namespace) -> int:
    output = Output(arguments.output)
    async with client:
        try:
            return await _command(client, arguments, output)
        except QueryError as error:
            _report(error)
            await Hints(client, arguments).on_error(error)
            return _FAILED


async def _command(client: QueryClient, arguments: argparse.Namespace, output: Output) -> int:
    match arguments.command:
        case "query":
            await _query(client, arguments, output)
        case "stream":
            await _stream(client, arguments, output)
        case "count":
            await _count(client, arguments, output)
        case "get":
            return await _get(client, arguments, output)
        case "explain":
            await _explain(client, arguments, output)
        case "cache" if arguments.cache_command == "stats":
            stats = await client.cache_stats()
            output.value(asdict(stats), cache_grid(stats))
        case "cache":
            await client.invalidate(arguments.table, arguments.key or None)
        case _ if arguments.table:
            table = await client.table(arguments.table)
            output.value(table_fields(table), table_view(table))
        case _:
            await _list(client, output)
    return 0


async def _query(client: QueryClient, arguments: argparse.Namespace, output: Output) -> None:
    page = await client.query(
        _query_of(arguments),
        page_size=arguments.page_size,
        page_token=arguments.token,
        total=arguments.total,
    )
    output.items(page.items, arguments.project)
    output.end()
    _note_total(page.total)
    if page.next_page_token:
        note(f"more with: --token {shlex.quote(page.next_page_token)}")
    _note_cost(arguments, page.stats, page.cache)
    hints = Hints(client, arguments)
    hints.check_types(page.items)
    hints.on_missing_attributes(page.items)
    if not page.items and not page.next_page_token:
        await hints.on_empty_result()


async def _stream(client: QueryClient, arguments: argparse.Namespace, output: Output) -> None:
    pages = client.pages(
        _query_of(arguments),
        page_size=arguments.page_size,
        resume_token=arguments.token,
        total=arguments.total,
    )
    hints, last = Hints(client, arguments), None
    with _progress(arguments) as progress:
        async for page in pages:
            if page.items:
                _show(page, arguments, output, progress)
                hints.check_types(page.items)
            progress.page(pages.stats)
            last = page
    output.end()
    _note_total(pages.total)
    _note_cost(arguments, pages.stats, last.cache if last else None)
    if not pages.stats.items_returned:
        await hints.on_empty_result()


def _show(
    page: Page, arguments: argparse.Namespace, output: Output, progress: StreamProgress
) -> None:
    if not sys.stdout.isatty():
        output.items(page.items, arguments.project)
        return
    progress.pause()
    output.items(page.items, arguments.project)
    progress.go_on()


def _progress(arguments: argparse.Namespace) -> StreamProgress:
    on_terminal = sys.stderr.isatty()
    is_shown: bool | None = arguments.progress
    if is_shown is None:
        # The reader of the pipe may write to the same terminal, into the middle of the line.
        is_shown = on_terminal and not stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
    console = Console(stderr=True, force_terminal=on_terminal)
    return StreamProgress(console, is_shown=is_shown and not console.is_dumb_terminal)


def _note_total(total: Total | None) -> None:
    if total is not None:
        note(f"total: {'' if total.exact else 'at least '}{total.value}")


def _note_cost(
    arguments: argparse.Namespace, stats: PageStats, cache: CacheInfo | None = None
) -> None:
    if arguments.verbose:
        note(stats_text(stats, cache))


async def _count(client: QueryClient, arguments: argparse.Namespace, output: Output) -> None:
    count = await client.count(_query_of(arguments), up_to=arguments.up_to)
    output.value(count.value, Text(str(count.value)))
    if not count.exact:
        note("there may be more")
    _note_cost(arguments, count.stats, count.cache)
    if not count.value:
        await Hints(client, arguments).on_empty_result()


async def _get(client: QueryClient, arguments: argparse.Namespace, output: Output) -> int:
    found = await client.get(
        arguments.table, arguments.keys, projection=arguments.project, consistent=arguments.strong
    )
    output.items(found, arguments.project)
    output.end()
    missing = [key for key, item in zip(arguments.keys, found, strict=True) if item is None]
    if output.is_for_people or arguments.verbose:
        for key in missing:
            note(f"no item: {to_json(key)}")
    _note_cost(arguments, found.stats)
    return _FAILED if missing else 0


async def _explain(client: QueryClient, arguments: argparse.Namespace, output: Output) -> None:
    explanation = await client.explain(_query_of(arguments))
    output.value(explanation_fields(explanation), explanation_tree(explanation))


async def _list(client: QueryClient, output: Output) -> None:
    tables = await client.tables()
    output.rows(
        [{"name": table.name, "description": table.description} for table in tables],
        rows_grid(("table", "description"), [(one.name, one.description) for one in tables]),
    )


def _report(error: QueryError) -> None:
    call = f" (request {error.request_id})" if error.request_id else ""
    for line in clauses(f"ddbq: {error}{call}"):
        note(line)
    message = " ".join(error.message.split())
    for violation in error.violations[:_MAX_VIOLATIONS]:
        if " ".join(violation.description.split()) not in message:
            note(f"  {violation.subject}: {violation.description}")
    if error.resume_token:
        note(f"go on with: --token {shlex.quote(error.resume_token)}")


_MAX_VIOLATIONS = 20


def _client(arguments: argparse.Namespace) -> QueryClient:
    arguments.target = arguments.target or os.environ.get("DDBQ_TARGET") or DEFAULT_TARGET
    try:
        api_key, token = credential_of(arguments, os.environ)
        arguments.has_credential = bool(api_key or token)
        return QueryClient(
            arguments.target,
            api_key=api_key,
            token=token,
            credentials=credentials_of(
                arguments, os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
            ),
            timeout=arguments.timeout,
            options=name_options(arguments),
        )
    except ValueError as error:
        parser: argparse.ArgumentParser = arguments.parser
        parser.error(str(error))


def _query_of(arguments: argparse.Namespace) -> Query:
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
