"""What `ddbq` takes on its command line."""

from __future__ import annotations

import argparse
import json
import re
from decimal import Decimal

from dynamodb_processor_client.options import TotalWish
from dynamodb_processor_client.values import Value, encode

DEFAULT_TARGET = "127.0.0.1:50051"
_TABLE_HELP = "the table's name in the catalog"

_PARAMETER = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<sign>:?=)(?P<text>.*)", re.DOTALL)


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; `command` in its result says which one was given."""
    parser = argparse.ArgumentParser(
        prog="ddbq", description="Read DynamoDB tables through the DynamoDB Processor."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    query = commands.add_parser("query", help="print one page")
    stream = commands.add_parser("stream", help="print everything, page by page")
    for command, timeout in ((query, 60.0), (stream, None)):
        _add_condition_arguments(command)
        _add_result_arguments(command)
        _add_paging_arguments(command)
        _add_connection_arguments(command, timeout=timeout)
    count = commands.add_parser("count", help="print how many items there are")
    _add_condition_arguments(count)
    count.add_argument("--up-to", metavar="N", type=int, help="stop counting here")
    _add_connection_arguments(count, timeout=60.0)
    get = commands.add_parser("get", help="print items by their primary keys")
    _add_get_arguments(get)
    _add_connection_arguments(get, timeout=60.0)
    explain = commands.add_parser("explain", help="show how a query would be read")
    _add_condition_arguments(explain)
    _add_result_arguments(explain)
    _add_connection_arguments(explain, timeout=60.0)
    tables = commands.add_parser("tables", help="list the tables, or show one table's keys")
    tables.add_argument("table", nargs="?", metavar="TABLE", help="the table to show")
    _add_connection_arguments(tables, timeout=60.0)
    _add_cache_commands(commands.add_parser("cache", help="tell the cache of writes, or show it"))
    return parser


def _add_cache_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="cache_command", required=True, metavar="COMMAND")
    invalidate = commands.add_parser("invalidate", help="end what is cached of a table")
    add = invalidate.add_argument
    add("table", metavar="TABLE", help=_TABLE_HELP)
    add(
        "key",
        metavar="NAME=TEXT",
        nargs="*",
        type=_parameter,
        help="partition attributes of what was written, as -p takes values; all without any",
    )
    stats = commands.add_parser("stats", help="show how the cache is used")
    for command in (invalidate, stats):
        _add_connection_arguments(command, timeout=60.0)


def _add_condition_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("table", metavar="TABLE", help=_TABLE_HELP)
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
    _add_strong_argument(parser)


def _add_result_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--descending", action="store_true", help="largest sort key first")
    _add_projection_argument(parser)


def _add_paging_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--max-items", metavar="N", type=int, help="stop after this many items")
    add("--page-size", metavar="N", type=int, default=0, help="items per page")
    add(
        "--total",
        metavar="N|exact",
        type=_total,
        help="tell how many items there are in all, counting up to N or exactly",
    )
    add("--token", metavar="TOKEN", default="", help="go on where an earlier command stopped")


def _add_get_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("table", metavar="TABLE", help=_TABLE_HELP)
    add(
        "--key",
        dest="keys",
        metavar="NAME=TEXT",
        action="append",
        nargs="+",
        required=True,
        type=_parameter,
        help="all attributes of one key, as -p takes values; give --key again for the next item",
    )
    _add_projection_argument(parser)
    _add_strong_argument(parser)


def _add_projection_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--project",
        metavar="PATH",
        action="append",
        default=[],
        help="print this attribute (may be given again); everything without it",
    )


def _add_strong_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--strong", action="store_true", help="read strongly")


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
    add("--target", metavar="ADDRESS", help=f"default: $DDBQ_TARGET, or {DEFAULT_TARGET}")
    add("--api-key", metavar="KEY", help="default: $DDBQ_API_KEY, where other users cannot see it")
    add("--tls", action="store_true", help="connect with TLS")


def _total(argument: str) -> TotalWish:
    if argument == "exact":
        return "exact"
    if not argument.isdecimal():
        raise argparse.ArgumentTypeError(f"not a number nor exact: {argument!r}")
    return int(argument)


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
