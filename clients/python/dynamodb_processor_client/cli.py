"""`ddbq`: read tables through the service from the command line.

    ddbq query flights 'carrier = :c AND distance > :d' -p c=UA -p d:=1000 --max-items 5
    ddbq stream audit_events 'user_id = :u' -p u=u-1 | jq .action
    ddbq stream flights --output flights.csv --resume
    ddbq count audit_events 'user_id = :u' -p u=u-1 --up-to 1000
    ddbq get audit_events --key user_id=u-1 event_id=e-1 --key user_id=u-2 event_id=e-7
    ddbq explain flights "tailnum = 'N14228' AND distance > 1000"
    ddbq tables
    ddbq cache invalidate audit_events user_id=u-1
    ddbq shell

Results are tables on a terminal, and one JSON object a line elsewhere; `--output` selects the form.
Everything else goes to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
from collections.abc import Sequence

from dynamodb_processor_client.arguments import parse_arguments
from dynamodb_processor_client.client import QueryClient
from dynamodb_processor_client.command_credential import credential_of
from dynamodb_processor_client.commands import run_command
from dynamodb_processor_client.connection_arguments import (
    DEFAULT_TARGET,
    credentials_of,
    name_options,
)
from dynamodb_processor_client.errors import QueryError
from dynamodb_processor_client.exit_codes import (
    BROKEN_PIPE,
    DONE,
    FAILED,
    INTERRUPTED,
    exit_code_of,
)
from dynamodb_processor_client.exports.errors import ExportError
from dynamodb_processor_client.hints import Hints
from dynamodb_processor_client.output import OutputFailed, clauses, flush, note
from dynamodb_processor_client.terminal import discard_output, prepare_standard_streams


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `ddbq --help` lists the codes.

    Raises:
        SystemExit: The arguments have an error, or ask for help or the version.
    """
    prepare_standard_streams()
    try:
        try:
            arguments = parse_arguments(argv)
            status = _run(arguments)
        except SystemExit:
            flush()
            raise
        flush()
    except OutputFailed as error:
        note(f"ddbq: the output cannot be written: {error}")
        return _exit_with(FAILED)
    except KeyboardInterrupt:
        return _exit_with(INTERRUPTED)
    except BrokenPipeError:
        return _exit_with(BROKEN_PIPE)
    return status


def _exit_with(status: int) -> int:
    discard_output()
    return status


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "completion":
        return _print_completion(arguments)
    check_output(arguments)
    client = _client(arguments)
    if arguments.command == "shell":
        from dynamodb_processor_client.shell import run_shell

        return run_shell(client, arguments, run_in, os.environ)
    return asyncio.run(_run_alone(client, arguments))


async def _run_alone(client: QueryClient, arguments: argparse.Namespace) -> int:
    async with client:
        return await run_in(client, arguments)


async def run_in(client: QueryClient, arguments: argparse.Namespace) -> int:
    """Run a command with an open client, print its error, and return its exit code."""
    try:
        return await run_command(client, arguments)
    except QueryError as error:
        _report(error)
        await Hints(client, arguments).on_error(error)
        return exit_code_of(error)
    except ExportError as error:
        note(f"ddbq: {error}")
        return FAILED


def check_output(arguments: argparse.Namespace) -> None:
    """Check, before anything is read, that Parquet can be written, if it is wanted."""
    if "output" not in arguments or arguments.output.form != "parquet":
        return
    from dynamodb_processor_client.exports.parquet_form import ParquetUnavailable, load_pyarrow

    parser: argparse.ArgumentParser = arguments.parser
    if not arguments.output.file and sys.stdout.isatty():
        parser.error("--output: Parquet is binary: write it into a file or a pipe")
    try:
        load_pyarrow()
    except ParquetUnavailable as error:
        parser.error(f"--output: {error}")


def _print_completion(arguments: argparse.Namespace) -> int:
    from dynamodb_processor_client.completion import CompletionUnavailable, completion_script

    parser: argparse.ArgumentParser = arguments.parser
    try:
        sys.stdout.write(completion_script(arguments.shell))
    except CompletionUnavailable as error:
        parser.error(str(error))
    return DONE


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
    parser: argparse.ArgumentParser = arguments.parser
    environment = dict(os.environ)
    name = arguments.profile or environment.get("DDBQ_PROFILE")
    profile = None
    try:
        if name:
            from dynamodb_processor_client.profiles import load_profile

            profile = load_profile(name, environment)
            profile.fill(arguments)
        elif not arguments.target:
            arguments.target = environment.get("DDBQ_TARGET")
        arguments.target = arguments.target or DEFAULT_TARGET
        api_key, token = credential_of(arguments, environment, profile)
        arguments.has_credential = bool(api_key or token)
        return QueryClient(
            arguments.target,
            api_key=api_key,
            token=token,
            credentials=credentials_of(
                arguments, environment.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
            ),
            timeout=arguments.timeout,
            options=name_options(arguments),
        )
    except ValueError as error:
        parser.error(str(error))
