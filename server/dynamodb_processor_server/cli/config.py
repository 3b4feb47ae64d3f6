"""`dynamodb-processor config`: prints the settings, and checks files, Redis and tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import fields
from pathlib import Path

import yaml
from pydantic import SecretStr

from dynamodb_processor_server.auth.api_keys import KeyRing
from dynamodb_processor_server.auth.bearer.identity_file import IdentityFile
from dynamodb_processor_server.auth.unused_keys import keys_without_tables
from dynamodb_processor_server.catalog.config import CatalogConfig
from dynamodb_processor_server.cli.issuer_report import report_on_issuers
from dynamodb_processor_server.cli.redis_report import report_on_redis
from dynamodb_processor_server.cli.setting_warnings import setting_warnings
from dynamodb_processor_server.cli.table_report import TableReport, discovered, report_on
from dynamodb_processor_server.config_files import ConfigDocument
from dynamodb_processor_server.config_files.tls_files import ServerIdentity
from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.dynamodb.table_describer import TableDescriber
from dynamodb_processor_server.limits.call_rate import RateClass
from dynamodb_processor_server.query.page_token import TokenKey, encrypting_key
from dynamodb_processor_server.rpc.listening import local_addresses
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.telemetry.certificates import expires_soon, utc_text
from dynamodb_processor_server.telemetry.logs import configure_logs
from dynamodb_processor_server.wiring.secrets import open_secrets
from dynamodb_processor_server.wiring.tls import endpoints_of, reloadable_identity


async def show_config(settings: Settings) -> int:
    """Print the effective settings with masked secrets, the state of each table, and notes.

    Notes name parts that work, but probably not as intended, such as an index that many queries
    cannot use, or a key that grants nothing.

    Returns 0 when everything named can be read, else 1. Raises ConfigurationError for errors in the
    settings and the files.
    """
    configure_logs("console", "ERROR")  # the report says all that a log line would
    shown = {name: _printable(getattr(settings, name)) for name in Settings.model_fields}
    print(yaml.safe_dump({"settings": shown}, sort_keys=False), end="")
    if settings.tracing != "off":
        settings.check_otlp_variables()
    async with AsyncExitStack() as stack:
        secrets = await open_secrets(settings, stack)
        identity = reloadable_identity(settings)
        for endpoint in endpoints_of(settings, identity):
            await local_addresses(endpoint)
        context = settings.catalog_context()
        catalog = ConfigDocument.read(settings.catalog).parse(CatalogConfig, context)
        classes = settings.rate_classes
        keys_file = await secrets.opener.open_keys_file(lambda file: KeyRing.build(file, classes))
    keys = keys_file.current
    if settings.has_token_keys:
        _print_yaml({"token_keys": _key_texts(secrets.token_keys.current, time.time())})
    print(f"keys: {len(keys)}\ncertificates: {len(keys.certificates)}")
    issuers = None
    if settings.identity is not None:
        issuers = await report_on_issuers(
            IdentityFile.build(ConfigDocument.read(settings.identity), settings.rate_classes),
            settings.key_set_timeout,
        )
        _print_yaml({"issuers": issuers.texts})
    notes = setting_warnings(settings)
    if identity is not None:
        notes += _show_identity(identity.current)
    notes += [
        f"key {key_id} grants no table of the catalog: its tables match none"
        for key_id in keys_without_tables(keys, catalog)
    ]
    ok = issuers is None or issuers.ok
    if secrets.redis_url is not None:
        redis = await report_on_redis(secrets.redis_url.current, settings.redis_prefix)
        _print_yaml({"redis": redis.text})
        notes += redis.notes
        ok = ok and redis.ok
    async with Clients(settings.client_settings()) as clients:
        describer = TableDescriber(Backend(clients, settings.backend_settings()))
        tables = catalog.tables.items()
        reports = {name: await report_on(name, one, describer, clients) for name, one in tables}
        _print_yaml({"tables": _texts(reports)})
        if catalog.discover:
            found, note = await discovered(catalog, describer, clients)
            _print_yaml({"discovered": _texts(found)})
            reports |= found
            notes += [note] if note else []
    for report in reports.values():
        notes += report.notes
        ok = ok and report.ok
    if notes:
        print(yaml.safe_dump({"notes": notes}, width=100, allow_unicode=True), end="")
    return 0 if ok else 1


def _key_texts(keys: Sequence[TokenKey], now: float) -> dict[str, str]:
    """Return what each token key does, by its id."""
    texts = {
        key.key_id: f"decrypts, and encrypts from {utc_text(key.encrypts_from)} on"
        if key.encrypts_from > now
        else "decrypts"
        for key in keys
    }
    return texts | {keys[encrypting_key(keys, now)].key_id: "encrypts and decrypts"}


def _show_identity(identity: ServerIdentity) -> list[str]:
    """Print the names and expiries of the TLS files, and return notes on those that end soon."""
    expiries = {file: utc_text(ends) for file, (_, ends) in identity.lifetimes.items()}
    _print_yaml({"tls": {"names": list(identity.names), "expires": expiries}})
    soon = [file for file, life in identity.lifetimes.items() if expires_soon(life, time.time())]
    return [f"tls_{file}: expires at {expiries[file]}; renew it" for file in soon]


def _print_yaml(section: Mapping[str, object]) -> None:
    """Print a section with each text on one line."""
    print(yaml.safe_dump(section, width=1_000_000, sort_keys=False, allow_unicode=True), end="")


def _texts(reports: Mapping[str, TableReport]) -> dict[str, str]:
    return {name: report.text for name, report in reports.items()}


def _printable(value: object) -> object:
    match value:
        case SecretStr():
            return "********"
        case Path():
            return str(value)
        case RateClass():
            return {one.name: getattr(value, one.name) for one in fields(value) if one.init}
        case dict():
            return {key: _printable(entry) for key, entry in value.items()}
    return value
