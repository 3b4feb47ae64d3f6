"""What `config` says of one table: whether it can be read, and which indexes are not used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dynamodb_processor_server.catalog.declaration import TableDeclaration
from dynamodb_processor_server.catalog.schema import Table, TableSchema
from dynamodb_processor_server.errors import BackendRefused, ProcessorError
from dynamodb_processor_server.query.refusals import index_note, unproven_keys
from dynamodb_processor_server.reading.clients import Clients
from dynamodb_processor_server.reading.describing import DynamoDBDescriber


@dataclass(frozen=True, slots=True)
class TableReport:
    """Whether a table can be served, in words, and notes on what of it will not be used."""

    text: str
    notes: Sequence[str]
    sound: bool


async def report_on(
    name: str, declaration: TableDeclaration, describer: DynamoDBDescriber, clients: Clients
) -> TableReport:
    """Describe a table and report on it; what is wrong with it is a report as well."""
    place = await clients.place(declaration.region, declaration.role_arn)
    where = f"DynamoDB table {declaration.table}" + (f" in {place}" if place else "")
    try:
        schema = await describer.describe(name, declaration)
        _check(Table(name, declaration, schema))
    except (ProcessorError, BackendRefused) as error:
        return TableReport(f"{error}; {where}", (), sound=False)
    keys = ", ".join(attribute.name for attribute in schema.base.key.attributes)
    indexes = len(schema.paths) - 1
    text = f"ok, key {keys}, {indexes} index{'' if indexes == 1 else 'es'}; {where}"
    return TableReport(
        text, [f"table {name}: {note}" for note in _notes(name, declaration, schema)], True
    )


def _check(table: Table) -> None:
    if table.misfits:
        raise BackendRefused("; ".join(table.misfits))
    if table.declaration.invalidate_from_stream and table.schema.stream_arn is None:
        raise BackendRefused("invalidate_from_stream: the table has no stream")


def _notes(name: str, declaration: TableDeclaration, schema: TableSchema) -> Iterator[str]:
    for reason in schema.skipped:
        yield f"index not used: {reason}"
    if declaration.sparse == "allow":
        return
    # An operator may see everything, under the names that the catalog takes.
    seen = declaration.model_copy(update={"attributes": None, "expose_keys": True})
    table = Table(name, seen, schema)
    for path in table.schema.paths[1:]:
        fixed = {name for key in path.key.partition for name in (key.name, *key.fields)}
        unproven = unproven_keys(path, fixed.union(declaration.required), table)
        if unproven:
            yield index_note(path, unproven, table)
