"""The command of `make gateway`: sample tables, a server, the gateway before it, and a tour."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dynamodb_processor_server.demo.activity import activity
from dynamodb_processor_server.demo.audit_events import audit_events
from dynamodb_processor_server.demo.backends import Backend, open_backend
from dynamodb_processor_server.demo.command import check_free
from dynamodb_processor_server.demo.failure import DemoFailed
from dynamodb_processor_server.demo.flights import flights
from dynamodb_processor_server.demo.interruption import Interrupted, Interruption
from dynamodb_processor_server.demo.loading import load
from dynamodb_processor_server.demo.screen import Screen
from dynamodb_processor_server.demo.service import Service, open_service
from dynamodb_processor_server.demo.tool_cache import ToolCache, ToolUnavailable
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.telemetry.logs import configure_logs
from gateway.options import Address, OptionError, Options
from gateway.reference import write_reference
from tour.console import Console, console_of
from tour.envoy import free_address, open_gateway
from tour.steps import ALLOWED_ORIGIN, Tour

_LISTEN: Final = "127.0.0.1:8080"
_SERVER: Final = "127.0.0.1:50051"
_CONSOLE: Final = "127.0.0.1:8081"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deploy/envoy/demo",
        description="Serve sample tables through the HTTP gateway, and show it with curl.",
    )
    parser.add_argument(
        "--backend", choices=("embedded", "dynamodb-local", "aws"), default="embedded",
        help="where the sample tables are created (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--once", action="store_true", help="end after the tour")
    default = "({}; with --once a free port)"
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help=f"the gateway {default.format(_LISTEN)}"
    )
    parser.add_argument(
        "--console", type=Path, metavar="FOLDER", help="serve the web console's files as well"
    )
    parser.add_argument(
        "--console-listen", metavar="HOST:PORT", help=f"the console {default.format(_CONSOLE)}"
    )
    parser.add_argument(
        "--server", metavar="HOST:PORT", help=f"the server {default.format(_SERVER)}"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Create the tables, take the tour, and serve until Ctrl-C or SIGTERM.

    Returns:
        0; 1 if something could not be set up or an answer was not the expected one; 130 after a
        signal before the end of the tour.
    """
    options = _parser().parse_args(arguments)
    screen = Screen()
    try:
        # A tour that ends needs no port that anybody knows.
        listen = _address(
            "--listen", options.listen or ("127.0.0.1:0" if options.once else _LISTEN)
        )
        server = options.server or ("127.0.0.1:0" if options.once else _SERVER)
        _address("--server", server)
        console = None
        if options.console is not None:
            free = "127.0.0.1:0" if options.once else _CONSOLE
            page = _address("--console-listen", options.console_listen or free)
            console = console_of(options.console, page, listen)
        configure_logs("console", "WARNING")  # the calls of the tour are shown, not logged
        with (
            Interruption() as interruption,
            open_backend(options.backend, screen.say) as backend,
            tempfile.TemporaryDirectory(prefix="dynamodb-processor-gateway-") as folder,
        ):
            work = _show(
                *(backend, listen, console, server),
                *(Path(folder), screen, interruption, options.once),
            )
            return asyncio.run(work)
    except (Interrupted, KeyboardInterrupt):
        return 130
    except (ConfigurationError, DemoFailed, OptionError, ToolUnavailable) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 1


def _address(option: str, text: str) -> Address:
    """Return the address of an option, which is checked before the slow set-up; port 0: a free one.

    Raises:
        DemoFailed: it is no address, or cannot be served on.
    """
    try:
        check_free(text)
    except ConfigurationError as error:
        problem = str(error).partition("\n")[0].removeprefix("listen: ")
        raise DemoFailed(f"{option}: {problem}; {option} 127.0.0.1:0 takes a free port") from None
    return free_address(text)


async def _show(
    backend: Backend,
    listen: Address,
    console: Console | None,
    server: str,
    folder: Path,
    screen: Screen,
    interruption: Interruption,
    once: bool,
) -> int:
    interruption.use_loop()
    events, departures = audit_events(), flights()
    tables = (events, departures, activity(events))
    screen.say(f"Creating {len(tables)} sample tables in DynamoDB ({backend.name}): some seconds")
    await interruption.unless_interrupted(load(backend, tables))
    tools = ToolCache(report=screen.say)
    site = await asyncio.to_thread(write_reference, folder / "site", tools)
    async with open_service(backend, tables, server) as service:
        options = Options(
            listen=listen,
            upstreams=[Address.parse("--upstream", service.connection.address)],
            allow_origins=[ALLOWED_ORIGIN, *([console.origin] if console else [])],
            reference=site,
            static=[(console.listen, console.files)] if console else [],
            static_connect=[console.gateway] if console else [],
        )
        async with open_gateway(options, folder) as url:
            tour = Tour(url, service.connection.api_key, departures, screen)
            steps = await interruption.unless_interrupted(tour.run())
            screen.title(f"The tour is done: all {steps} steps showed what they promise.")
            if not once:
                _show_directions(url, service, console, screen)
                await interruption.wait()
    return 0


def _show_directions(url: str, service: Service, console: Console | None, screen: Screen) -> None:
    """Show where to go on."""
    screen.title(f"Serving on {url}. In another terminal:")
    screen.command(f"export GATEWAY={url} KEY={service.connection.api_key}")
    screen.command('curl -H "x-api-key: $KEY" $GATEWAY/v1/tables')
    screen.say()
    if console is not None:
        screen.say(f"Web console:    {console.origin}/ (enter the key there)")
    screen.say(f"Reference page: {url}/reference/ (enter the key under Authorize)")
    screen.say(f"Description:    {url}/openapi.json")
    screen.say(f"gRPC:           {service.connection.address}")
    screen.say(f"Keys:           {service.keys}")
    screen.say("Ctrl-C ends it.")
