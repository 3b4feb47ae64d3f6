"""`ddbq stream --output FILE`: an export, which `--resume` continues."""

from __future__ import annotations

import argparse
import asyncio

from dynamodb_processor_client.client import QueryClient
from dynamodb_processor_client.commands import (
    cache_of,
    note_cost,
    note_total,
    progress_of,
    query_of,
)
from dynamodb_processor_client.errors import FailedPrecondition, InvalidArgument, QueryError
from dynamodb_processor_client.exit_codes import DONE
from dynamodb_processor_client.exports.errors import ExportError
from dynamodb_processor_client.exports.export import Contents, Export
from dynamodb_processor_client.hints import Hints
from dynamodb_processor_client.output import note
from dynamodb_processor_client.pages import PageStats
from dynamodb_processor_client.time_left import TimeLeft


async def export(client: QueryClient, arguments: argparse.Namespace) -> int:
    """Write every item into the file, and return the exit code.

    Raises:
        QueryError: The service refused or failed. Everything so far is kept for `--resume`.
        ExportError: The export cannot begin, be resumed or go on.
    """
    query, destination = query_of(arguments), arguments.output
    contents = Contents(query, destination.form, arguments.columns, arguments.project)
    exported = Export(destination.file, contents)
    exported.begin(resume=arguments.resume)
    earlier = exported.items
    try:
        if earlier:
            note(f"continuing after {earlier:,} items")
        if not exported.is_read:
            await _read(client, arguments, exported)
        exported.finish()
    finally:
        exported.close()
    note(f"{destination.file}: {exported.items:,} items")
    return DONE


async def _read(client: QueryClient, arguments: argparse.Namespace, exported: Export) -> None:
    query, earlier = query_of(arguments), exported.items
    pages = client.pages(
        query,
        page_size=arguments.page_size,
        resume_token=exported.resume_token,
        cache=cache_of(arguments),
        total=arguments.total,
        timeout=arguments.timeout,
    )
    hints = Hints(client, arguments)
    with progress_of(arguments) as progress:
        progress.resumed(earlier)
        async with TimeLeft(client, query, progress, up_to=arguments.eta) as time_left:
            try:
                async for page in pages:
                    exported.add(page.items, page.next_page_token)
                    hints.check_types(page.items)
                    time_left.on_total(page.total)
                    progress.page(pages.stats)
            except (QueryError, asyncio.CancelledError) as error:
                _keep(exported, error, has_begun=pages.stats != PageStats())
                raise
    if not exported.is_read:
        exported.checkpoint()
        raise ExportError("the stream ended before its last item; continue it with --resume")
    time_left.note_cost()
    note_total(pages.total)
    note_cost(arguments, pages.stats)
    if not exported.items:
        await hints.on_empty_result()


def _keep(exported: Export, error: BaseException, *, has_begun: bool) -> None:
    """Keep the items so far, and say how to go on after an error."""
    if not exported.items:
        exported.discard_if_empty()
        return
    if isinstance(error, QueryError):
        error.resume_token = ""  # The state has it.
    if isinstance(error, FailedPrecondition | InvalidArgument) and not has_begun:
        note(f"the token of the unfinished export is not accepted; {exported.remedy}")
        return
    exported.checkpoint()
    note(f"{exported.items:,} items are kept: continue with the same command and --resume")
