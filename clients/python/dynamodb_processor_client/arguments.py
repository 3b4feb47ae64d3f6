"""The command line of `ddbq`: its commands, options and their checks."""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from dynamodb_processor_client import argument_checks as check
from dynamodb_processor_client.assignments import FORMS, attribute, parameter, unique, utf8
from dynamodb_processor_client.connection_arguments import add_connection_arguments
from dynamodb_processor_client.destinations import resolve
from dynamodb_processor_client.exit_codes import EXIT_CODES
from dynamodb_processor_client.options import TotalOption
from dynamodb_processor_client.output_arguments import (
    add_item_output,
    add_stream_output,
    add_value_output,
    projection_of,
)

_TABLE_HELP = "the table's name in the catalog"
SHELLS = ("bash", "zsh", "fish")
_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII
)
_MAX_INT32 = 2**31 - 1
_MAX_INT64 = 2**63 - 1


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; `command` is the name of the command, `parser` its parser.

    Raises:
        SystemExit: The command line has an error, which was printed, or asks for help or the
            version.
    """
    all_commands = command_parser()
    _check_order(all_commands, sys.argv[1:] if argv is None else argv)
    arguments, rest = all_commands.parse_known_args(argv)
    parser: argparse.ArgumentParser = arguments.parser
    try:
        _accept_late_expression(arguments, rest)
        if "parameters" in arguments:
            arguments.parameters = unique(arguments.parameters, "-p")
        if "keys" in arguments:
            arguments.keys = [unique(key, "--key") for key in arguments.keys]
        if "key" in arguments:
            arguments.key = unique(arguments.key, "the partition key")
        _check_output(arguments)
    except (ValueError, argparse.ArgumentTypeError) as error:
        parser.error(str(error))
    return arguments


def _check_order(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Refuse an option before the command: argparse would take its value for the command.

    Its value is not repeated, since it may be a key.
    """
    first = argv[0].partition("=")[0] if argv else ""
    known = [option for option in ("-h", "--help", "--version") if option.startswith(first)]
    if first.startswith("-") and first.strip("-") and not known:
        parser.error(f"options go after the command: ddbq COMMAND {first} ...")


def _check_output(arguments: argparse.Namespace) -> None:
    """Resolve `--output` and `--columns`.

    Raises:
        ValueError: They do not go together with other options.
    """
    if "output" not in arguments:
        return
    arguments.output = resolve(arguments)
    if arguments.output.file and arguments.token:
        raise ValueError("--token: an export keeps its own token: use --resume")
    arguments.columns = getattr(arguments, "columns", None)
    if arguments.columns and not arguments.project:
        arguments.project = projection_of(arguments.columns)


def _accept_late_expression(arguments: argparse.Namespace, rest: list[str]) -> None:
    """Accept the expression after options, where argparse does not look for it."""
    if not rest:
        return
    is_text = "expression" in arguments and not rest[0].startswith("-")
    if is_text and len(rest) == 1 and not arguments.expression:
        arguments.expression = utf8(rest[0])
        return
    quotes = "; a condition is one argument, in quotes" if is_text else ""
    raise ValueError(f"unrecognized arguments: {' '.join(map(repr, rest))}{quotes}")


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = argparse.ArgumentParser(
        prog="ddbq",
        description="Read DynamoDB tables through the DynamoDB Processor.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    query = commands.add_parser("query", help="print one page")
    stream = commands.add_parser("stream", help="print everything, page by page, or export it")
    for command, timeout in ((query, 60.0), (stream, None)):
        _add_condition_arguments(command)
        _add_result_arguments(command)
        _add_paging_arguments(command)
        _add_freshness_argument(command)
        _add_explain_argument(command)
        _add_verbose_argument(command)
        add_connection_arguments(command, timeout=timeout)
    add_item_output(query)
    add_stream_output(stream)
    _add_progress_arguments(stream)
    count = commands.add_parser("count", help="print how many items there are")
    _add_condition_arguments(count)
    count.add_argument("--up-to", metavar="N", type=_positive, help="stop counting here")
    _add_freshness_argument(count)
    _add_explain_argument(count)
    _add_verbose_argument(count)
    get = commands.add_parser("get", help="print items by their primary keys")
    _add_get_arguments(get)
    _add_freshness_argument(get)
    _add_verbose_argument(get)
    add_item_output(get)
    explain = commands.add_parser("explain", help="show how a query would be read")
    _add_condition_arguments(explain)
    _add_result_arguments(explain)
    tables = commands.add_parser("tables", help="list the tables, or show one table's keys")
    tables.add_argument("table", nargs="?", metavar="TABLE", type=utf8, help="the table to show")
    shell = commands.add_parser("shell", help="run commands on one connection, with completion")
    for command in (count, get, explain, tables, shell):
        add_connection_arguments(command, timeout=60.0)
    for command in (count, explain, tables):
        add_value_output(command)
    _add_cache_commands(commands.add_parser("cache", help="invalidate or inspect the cache"))
    completion = commands.add_parser("completion", help="print the completion of a shell")
    completion.add_argument("shell", choices=SHELLS, help="the shell")
    completion.set_defaults(parser=completion)
    return parser


def _add_progress_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show on stderr how far the stream is (default: on a terminal, unless the output goes "
        "into a pipe, whose reader may write there too)",
    )
    add(
        "--eta",
        metavar="N",
        type=_positive,
        help="show the time left: counts the items, at most N, which costs as much as reading them "
        "does, and only where the progress is shown",
    )


def _add_explain_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--explain",
        action="store_true",
        help="show how the items would be read, instead of reading them",
    )


def _add_cache_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="cache_command", required=True, metavar="COMMAND")
    invalidate = commands.add_parser("invalidate", help="invalidate the cached pages of a table")
    add = invalidate.add_argument
    add("table", metavar="TABLE", type=utf8, help=_TABLE_HELP)
    add(
        "key",
        metavar="NAME=TEXT",
        nargs="*",
        type=attribute,
        help="partition attributes of the written items, with values as for -p; without any, the "
        "whole table. Names may be quoted: '\"a=b\"=text'",
    )
    stats = commands.add_parser("stats", help="show the cache counters")
    for command in (invalidate, stats):
        add_value_output(command)
        add_connection_arguments(command, timeout=60.0)


def _add_condition_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(descending=False, project=[], max_items=None)  # for all commands
    add = parser.add_argument
    add("table", metavar="TABLE", type=utf8, help=_TABLE_HELP)
    add(
        "expression",
        metavar="EXPRESSION",
        nargs="?",
        default="",
        type=utf8,
        help="the condition, such as \"carrier = 'UA' AND distance > :d\"",
    )
    add(
        "-p",
        dest="parameters",
        metavar="NAME=TEXT",
        action="append",
        default=[],
        type=parameter,
        help=f"the value of :NAME, once for each: {FORMS}",
    )
    add(
        "--index",
        metavar="NAME",
        type=utf8,
        help='use this index or fail; "@table" for the base table',
    )
    _add_strong_argument(parser)


def _add_result_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--descending", action="store_true", help="largest sort key first")
    _add_projection_argument(parser)


def _add_paging_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--max-items", "--limit", metavar="N", type=_positive, help="stop after this many items")
    add("--page-size", metavar="N", type=_page_size, default=0, help="items per page")
    add(
        "--total",
        metavar="N|exact",
        type=_total,
        help="also print the total number of items, counted up to N or exactly",
    )
    add(
        "--token",
        metavar="TOKEN",
        default="",
        type=utf8,
        help="continue after an earlier command, with the token that it printed",
    )


def _add_get_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("table", metavar="TABLE", type=utf8, help=_TABLE_HELP)
    add(
        "--key",
        dest="keys",
        metavar="NAME=TEXT",
        action="append",
        nargs="+",
        required=True,
        type=attribute,
        help="all attributes of one key, as -p takes values, names quoted where they have `=`; "
        "give --key again for the next item",
    )
    _add_projection_argument(parser)
    _add_strong_argument(parser)


def _add_projection_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--project",
        metavar="PATH",
        action="append",
        default=[],
        type=utf8,
        help="print this attribute (may be given again); everything without it",
    )


def _add_strong_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--strong", action="store_true", help="use strongly consistent reads")


def _add_freshness_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--not-before",
        metavar="TIME|now",
        type=_timestamp,
        help="show every write that was finished before this time, in the form of RFC 3339 such as "
        "2026-01-31T12:00:00Z, or before now",
    )


def _add_verbose_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="print the cost on stderr: index, items read, read units, requests, cache, time",
    )


def _total(argument: str) -> TotalOption:
    if argument == "exact":
        return "exact"
    try:
        return _positive(argument)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"not a number nor exact: {argument!r}") from error


def _timestamp(argument: str) -> datetime:
    if argument == "now":
        return datetime.now(UTC)
    if _TIMESTAMP.fullmatch(argument):
        with suppress(ValueError):
            return check.aware_time("not_before", datetime.fromisoformat(argument))
    raise argparse.ArgumentTypeError(
        f"not now, nor a time with a time zone such as 2026-01-31T12:00:00Z: {argument!r}"
    )


def _integer_between(smallest: int, largest: int) -> Callable[[str], int]:
    def read(argument: str) -> int:
        if not (argument.isascii() and argument.isdecimal() and len(argument) <= len(str(largest))):
            raise argparse.ArgumentTypeError(f"not a number from {smallest}: {argument!r}")
        if not smallest <= int(argument) <= largest:
            raise argparse.ArgumentTypeError(f"not from {smallest} to {largest}: {argument}")
        return int(argument)

    return read


_positive = _integer_between(1, _MAX_INT64)
_page_size = _integer_between(0, _MAX_INT32)


class _Version(argparse.Action):
    """Prints the version of the distribution, which is looked up on demand."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        sys.stdout.write(f"ddbq {importlib.metadata.version('dynamodb-processor')}\n")
        parser.exit()
