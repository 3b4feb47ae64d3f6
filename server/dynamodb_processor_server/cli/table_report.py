"""The report of `config` on one table: whether it can be read, and which indexes are not used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dynamodb_processor_server.catalog.config import CatalogConfig, TableConfig
from dynamodb_processor_server.catalog.schema import Table, TableSchema
from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.dynamodb.remedies import NO_CREDENTIALS, NO_REGION, remedy_for
from dynamodb_processor_server.dynamodb.table_describer import TableDescriber
from dynamodb_processor_server.errors import BackendRefused, ProcessorError
from dynamodb_processor_server.query.planning.refusals import index_note, unproven_keys

_MAX_DISCOVERED: Final = 100
_SAMPLE: Final = 100  # items


@dataclass(frozen=True, slots=True)
class TableReport:
    """A sentence on whether a table can be served, and notes on indexes that will not be used."""

    text: str
    notes: Sequence[str]
    ok: bool


async def report_on(
    name: str, config: TableConfig, describer: TableDescriber, clients: Clients
) -> TableReport:
    """Describe a table and report on it; an error of the table is a report as well."""
    endpoint = await clients.endpoint(config.region, config.role_arn)
    where = f"DynamoDB table {config.table}" + (f" in {endpoint}" if endpoint else "")
    try:
        schema = await describer.describe(name, config)
        _check(Table(name, config, schema))
    except (ProcessorError, BackendRefused) as error:
        return TableReport(f"{_explained(error)}; {where}", (), ok=False)
    keys = ", ".join(attribute.name for attribute in schema.base.key.attributes)
    indexes = len(schema.paths) - 1
    text = f"ok, key {keys}, {indexes} index{'' if indexes == 1 else 'es'}; {where}"
    notes = [*_notes(name, config, schema), *await _field_notes(config, describer)]
    return TableReport(text, [f"table {name}: {note}" for note in notes], True)


def _explained(error: Exception) -> str:
    remedy = remedy_for(error)
    if remedy in {NO_REGION, NO_CREDENTIALS}:
        return remedy
    return f"{error}: {remedy}" if remedy else str(error)


async def _field_notes(config: TableConfig, describer: TableDescriber) -> Sequence[str]:
    """Return notes on stored attributes with the names of fields, from a sample of the items."""
    fields = sorted({f.name for template in config.view.templates for f in template.fields})
    if not fields:
        return ()
    try:
        found = await describer.attribute_names(config, fields, _SAMPLE)
    except (ProcessorError, BackendRefused):  # it needs dynamodb:Scan, which few servers may use
        return (f"items were not sampled for attributes named like the fields {fields}",)
    return [
        f"items store an attribute {field}, which is a field of a key as well: it is shown only in "
        "items whose keys do not give the field, and conditions are about the key"
        for field in sorted(found)
    ]


async def discovered(
    catalog: CatalogConfig, describer: TableDescriber, clients: Clients
) -> tuple[dict[str, TableReport], str]:
    """Report on tables that the catalog discovers, and return a note on omitted ones, if any."""
    try:
        listed = await describer.list_names()
    except (ProcessorError, BackendRefused) as error:
        return {
            "discover": TableReport(f"the tables cannot be listed: {_explained(error)}", (), False)
        }, ""
    found = {
        name: config
        for name in listed
        if name not in catalog.tables and (config := catalog.config_for(name)) is not None
    }
    shown = list(found.items())[:_MAX_DISCOVERED]
    reports = {name: await report_on(name, one, describer, clients) for name, one in shown}
    left = len(found) - len(shown)
    return reports, f"{left} more tables are discovered, and not shown here" if left else ""


def _check(table: Table) -> None:
    if table.schema_conflicts:
        raise BackendRefused("; ".join(table.schema_conflicts))
    if table.config.invalidate_from_stream and table.schema.stream_arn is None:
        raise BackendRefused("invalidate_from_stream: the table has no stream")


def _notes(name: str, config: TableConfig, schema: TableSchema) -> Iterator[str]:
    for reason in schema.skipped:
        yield f"index not used: {reason}"
    hidden = _hidden_indexes(Table(name, config, schema))
    yield from hidden.values()
    if config.sparse == "allow":
        return
    # An operator may see everything, under the names that the catalog accepts.
    unrestricted = config.model_copy(update={"attributes": None, "expose_keys": True})
    table = Table(name, unrestricted, schema)
    for path in table.schema.paths[1:]:
        fixed = {name for key in path.key.partition for name in (key.name, *key.fields)}
        unproven = unproven_keys(path, fixed.union(config.required), table)
        if unproven and path.label not in hidden:
            yield index_note(path, unproven, table)


def _hidden_indexes(table: Table) -> dict[str, str]:
    """Return, by index, a note on the hidden attributes that keep callers from using it."""
    hidden: dict[str, str] = {}
    for path in table.schema.paths[1:]:
        names = [
            attribute.name
            for attribute in path.key.attributes
            if not table.may_show(attribute.name) and not all(map(table.may_show, attribute.fields))
        ]
        if names:
            hidden[path.label] = (
                f"index {path.label} is not used, because callers do not see {' and '.join(names)} "
                "of its key; ways out: add what is missing to attributes"
            )
    return hidden
