"""Arguments of the `accept` command."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Coroutine
from typing import Any

from dynamodb_processor_client import Query, QueryClient
from dynamodb_processor_client.connection_arguments import (
    add_tls_arguments,
    credentials_of,
    name_options,
)
from dynamodb_processor_server.acceptance.run import Keys, accept
from dynamodb_processor_server.acceptance.scenario import LoadBounds
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.rpc.health_client import TlsOptions, serving_status

_HEALTH_TIMEOUT = 5.0  # seconds
_LOAD = LoadBounds()


def add_arguments(
    parser: argparse.ArgumentParser, run: Callable[[Coroutine[Any, Any, int]], int]
) -> None:
    """Add the arguments; `run` runs the command on an event loop."""
    parser.description = (
        "Tests a running deployment: each promise of the service is a scenario. It only reads; "
        "with DDBQ_ADMIN_KEY it also invalidates the cached pages of the table. The caller's API "
        "key is in DDBQ_API_KEY. DDBQ_LIMITED_KEY is a key whose rate class the test may exhaust."
    )
    add = parser.add_argument
    add("--target", default="127.0.0.1:50051", help="the deployment, HOST:PORT")
    add("--table", required=True, help="a table of its catalog")
    add("--expression", required=True, help="a condition by key that matches 8 to 10,000 items")
    add("--health-target", help="the port in plain text that answers health checks, if any")
    add_tls_arguments(parser)
    add("--calls", type=int, default=_LOAD.calls, help="calls of the load scenario")
    add(
        "--max-p95-ms", type=float, default=_LOAD.seconds * 1e3, metavar="MS",
        help="largest 95th percentile of latency under that load (default: %(default)g)",
    )  # fmt: skip
    parser.set_defaults(run=lambda args: run(_accept(args)))


async def _accept(args: argparse.Namespace) -> int:
    keys = Keys(*(os.environ.get(f"DDBQ_{name}_KEY") for name in ("API", "ADMIN", "LIMITED")))
    if args.calls < 2:
        raise ConfigurationError("calls: must be 2 or more")
    try:
        query = Query(args.table, args.expression)
        QueryClient(args.target)
        credentials = credentials_of(args, os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"))
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    tls = None
    if credentials is not None and args.health_target is None:
        tls = TlsOptions(credentials, args.server_name or "")
    return await accept(
        lambda key: QueryClient(
            args.target, api_key=key, credentials=credentials, options=name_options(args)
        ),
        lambda name: serving_status(args.health_target or args.target, name, _HEALTH_TIMEOUT, tls),
        query,
        keys,
        LoadBounds(calls=args.calls, seconds=args.max_p95_ms / 1e3),
        print,
    )
