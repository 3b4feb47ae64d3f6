"""The `demo` command: sample tables, a server for them, and a walk through its features."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from dynamodb_processor_server.demo.activity import activity
from dynamodb_processor_server.demo.audit_events import audit_events
from dynamodb_processor_server.demo.backends import Backend, BackendName, open_backend
from dynamodb_processor_server.demo.directions import show_directions
from dynamodb_processor_server.demo.failure import DemoFailed
from dynamodb_processor_server.demo.flights import flights
from dynamodb_processor_server.demo.interruption import Interrupted, Interruption
from dynamodb_processor_server.demo.loading import load
from dynamodb_processor_server.demo.sample_table import SampleTable
from dynamodb_processor_server.demo.screen import Screen
from dynamodb_processor_server.demo.service import open_service
from dynamodb_processor_server.demo.tool_cache import ToolUnavailable
from dynamodb_processor_server.demo.walk import Walk
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.telemetry.logs import configure_logs


def run_demo(
    backend: BackendName,
    listen: str,
    *,
    once: bool,
    run: Callable[[Coroutine[Any, Any, int]], int],
) -> int:
    """Create the tables, run the walk, and serve until Ctrl-C or SIGTERM.

    Args:
        backend: Where the tables are created.
        listen: Where to serve, HOST:PORT; port 0 picks a free one.
        once: Whether to end after the walk.
        run: Runs a coroutine on an event loop, to its end.

    Returns:
        0; 1 if the demo could not be set up or an answer was not the expected one; 130 after a
        signal before the end of the walk.

    Raises:
        ConfigurationError: `listen` is not an address, or the port is in use.
        KeyboardInterrupt: Ctrl-C was pressed before there was a backend.
    """
    check_free(listen)
    configure_logs("console", "WARNING")  # the calls of the walk are shown, not logged
    screen = Screen()
    try:
        with Interruption() as interruption, open_backend(backend, screen.say) as opened:
            return run(_show(opened, listen, once, screen, interruption))
    except Interrupted:
        return 130
    except (DemoFailed, ToolUnavailable) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


async def _show(
    backend: Backend, listen: str, once: bool, screen: Screen, interruption: Interruption
) -> int:
    interruption.use_loop()
    events, departures = audit_events(), flights()
    tables = (events, departures, activity(events))
    region = await interruption.unless_interrupted(_load(backend, tables, screen))
    async with open_service(backend, tables, listen) as service:
        async with service.connection.client() as client:
            walk = Walk(client, service.connection, events, departures, screen)
            steps = await interruption.unless_interrupted(walk.run())
        screen.title(f"The walk is done: all {steps} steps showed what they promise.")
        if backend.is_real:
            _say_what_stays(tables, region, screen)
        if not once:
            show_directions(service, screen)
            await interruption.wait()
    return 0


async def _load(backend: Backend, tables: Sequence[SampleTable], screen: Screen) -> str:
    names = ", ".join(f"{table.dynamodb_name} ({table.count():,} items)" for table in tables)
    screen.say(f"Creating {names} in DynamoDB ({backend.name})")
    if backend.is_real:
        screen.say("They are made in your AWS account, on demand. Writing and reading them, and")
        screen.say("keeping them, costs money: some cents. They stay until you delete them.")
    if backend.name == "embedded":
        screen.say("It is an imitation in this process: its read units and its speed are not")
        screen.say(
            "DynamoDB's, nor is every answer. `make demo BACKEND=dynamodb-local` runs AWS's own."
        )
    screen.say("This takes some seconds.")
    started = time.monotonic()
    region = await load(backend, tables)
    screen.say(f"Loaded in {time.monotonic() - started:.1f} s")
    return region


def _say_what_stays(tables: Sequence[SampleTable], region: str, screen: Screen) -> None:
    screen.say()
    screen.say("The tables stay, and cost money, until you delete them:")
    for table in tables:
        screen.command(
            f"aws dynamodb delete-table --region {region} --table-name {table.dynamodb_name}"
        )


def check_free(listen: str) -> None:
    """Check the port before the slow set-up."""
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), int(port)))
    except (ValueError, OverflowError):
        raise ConfigurationError(f"listen: must be HOST:PORT, not {listen}") from None
    except OSError as error:
        raise ConfigurationError(
            f"listen: cannot serve on {listen}: {error.strerror}\n"
            "Does another demo run? `dynamodb-processor demo --listen 127.0.0.1:0` takes a port "
            "that is free."
        ) from None
