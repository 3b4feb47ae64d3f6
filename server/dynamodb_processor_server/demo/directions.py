"""The next steps for a user, as lines to copy into another terminal."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dynamodb_processor.v1.catalog_service_pb2 import DESCRIPTOR as CATALOG
from dynamodb_processor.v1.catalog_service_pb2 import ListTablesRequest
from dynamodb_processor.v1.query_service_pb2 import DESCRIPTOR as QUERY
from dynamodb_processor_server.demo.screen import Screen
from dynamodb_processor_server.demo.service import Service
from dynamodb_processor_server.demo.walk import UNITED

_QUERY: Final = QUERY.services_by_name["QueryService"]
_CATALOG: Final = CATALOG.services_by_name["CatalogService"]


def show_directions(service: Service, screen: Screen) -> None:
    """Show how to call the running service."""
    connection = service.connection
    screen.title(f"Serving on {connection.address}. In another terminal:")
    screen.say()
    for line in (
        connection.plain_grpcurl("list"),
        connection.plain_grpcurl("describe", _QUERY.full_name),
        connection.plain_grpcurl("grpc.health.v1.Health/Check"),
        connection.grpcurl(_CATALOG.methods_by_name["ListTables"], ListTablesRequest()),
        connection.grpcurl(_QUERY.methods_by_name["Query"], UNITED.request()),
    ):
        screen.command(line)
    screen.say()
    for line in _client_lines(service):
        screen.command(line)
    screen.say()
    if service.metrics_port is not None:
        screen.say(f"Metrics: http://127.0.0.1:{service.metrics_port}/metrics")
    screen.say(f"Catalog: {service.catalog} (changes are taken up)")
    screen.say(f"Keys:    {service.keys}")
    screen.say("Ctrl-C ends it.")


def _client_lines(service: Service) -> Iterator[str]:
    connection = service.connection
    yield shlex.join(
        ["export", f"DDBQ_TARGET={connection.address}", f"DDBQ_API_KEY={connection.api_key}"]
    )
    ddbq = shlex.quote(_ddbq())
    yield f"{ddbq} tables"
    yield f"{ddbq} query flights 'carrier = :c AND distance > :d' -p c=UA -p d:=2000"
    yield f"{ddbq} stream audit_events 'user_id = :u AND outcome = :o' -p u=u-1 -p o=denied"


def _ddbq() -> str:
    """Return the name of the client's command, with its path if a shell would not find it."""
    own = Path(sys.executable).with_name("ddbq")
    found = shutil.which("ddbq")
    if not own.is_file() or (found is not None and Path(found).samefile(own)):
        return "ddbq"
    here = Path.cwd()
    return str(own.relative_to(here) if own.is_relative_to(here) else own)
