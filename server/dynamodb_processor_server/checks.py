"""What an operator asks of a server: are the settings right, is it well."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import SecretStr

from dynamodb_processor_server.access.api_keys import KeyRing
from dynamodb_processor_server.catalog.declaration import CatalogDeclaration
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.documents import Document
from dynamodb_processor_server.errors import BackendRefused, ProcessorError
from dynamodb_processor_server.reading.backend import Backend
from dynamodb_processor_server.reading.clients import Clients
from dynamodb_processor_server.reading.describing import DynamoDBDescriber
from dynamodb_processor_server.rpc.probe import ask_health
from dynamodb_processor_server.settings import Settings

_HEALTH_TIMEOUT = 2.0  # seconds


async def show_config(settings: Settings) -> int:
    """Print the effective settings, secrets masked, and whether each table is there.

    Returns 0 when everything named can be read, else 1. Raises ConfigurationError for mistakes in
    the settings and the files.
    """
    shown = {name: _shown(getattr(settings, name)) for name in Settings.model_fields}
    print(yaml.safe_dump({"settings": shown}, sort_keys=False), end="")
    settings.token_key_ring()
    if settings.redis_url is not None:
        settings.shared_cache_keys()
    settings.shared_limits_url()
    catalog = Document.read(settings.catalog).parse(CatalogDeclaration, settings.catalog_context())
    keys = KeyRing.build(Document.read(settings.keys), settings.rate_classes)
    print(f"keys: {len(keys)}")
    print("tables:")
    sound = True
    async with Clients(settings.client_settings()) as clients:
        describer = DynamoDBDescriber(Backend(clients, settings.backend_settings()))
        for name, declaration in catalog.tables.items():
            try:
                schema = await describer.describe(name, declaration)
                misfits = Table(name, declaration, schema).misfits
                if misfits:
                    raise BackendRefused("; ".join(misfits))
                if declaration.invalidate_from_stream and schema.stream_arn is None:
                    raise BackendRefused("invalidate_from_stream: the table has no stream")
                keys_text = ", ".join(attribute.name for attribute in schema.base.key.attributes)
                print(f"  {name}: ok, key {keys_text}, {len(schema.paths) - 1} indexes")
                for reason in schema.skipped:
                    print(f"    index not used: {reason}")
            except (ProcessorError, BackendRefused) as error:
                sound = False
                print(f"  {name}: {error}")
    return 0 if sound else 1


def _shown(value: object) -> object:
    match value:
        case SecretStr():
            return "********"
        case Path():
            return str(value)
        case dict():
            return {key: str(entry) for key, entry in value.items()}
    return value


async def check_health(target: str, service: str) -> int:
    """Ask a server's health service, print its answer and return 0 if it is SERVING, else 1."""
    status = await ask_health(target, service, _HEALTH_TIMEOUT)
    print(status if status == "SERVING" else f"{target}: {status}")
    return 0 if status == "SERVING" else 1
