"""Writes a starting catalog as YAML with comments.

Facts that DynamoDB reports about a table become entries or comments. A proposal from a sample
becomes a line that begins with `#` without a space. It takes effect when the `#` is deleted. All
other comments are explanations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from dynamodb_processor_server.catalog.schema import AccessPath, PathKind, TableSchema
from dynamodb_processor_server.catalog.table_arn import name_of
from dynamodb_processor_server.cli.proposals import Proposals

_TYPES: Final = {"S": "string", "N": "number", "B": "binary"}
_SHOWN_ATTRIBUTES: Final = 40


@dataclass(frozen=True, slots=True)
class FoundTable:
    """The facts about one table, and the proposals from its sample.

    Attributes:
        name: Its name in DynamoDB, or its ARN.
        schema: Its keys and indexes; None if DynamoDB describes none, as during a deletion.
        description: The `Table` of a DescribeTable answer.
        time_to_live: The attribute of DynamoDB's time to live, if any.
        sampled: The number of sampled items.
        read_units: Read units that the sample consumed.
        proposals: The proposals from the sample.
        notes: Sentences about facts that could not be read.
    """

    name: str
    schema: TableSchema | None
    description: Mapping[str, Any]
    time_to_live: str | None
    sampled: int
    read_units: float
    proposals: Proposals | None
    notes: Sequence[str] = ()

    @property
    def logical_name(self) -> str:
        """The name for callers: that in DynamoDB."""
        return name_of(self.name)


def catalog_text(tables: Sequence[FoundTable], header: Sequence[str]) -> str:
    """Return the catalog of tables; at least one of them must have a schema."""
    lines = [f"# {line}".rstrip() for line in header]
    lines.append("tables:")
    for table in tables:
        lines += ["", *_table(table)]
    return "\n".join(lines) + "\n"


def units(number: float) -> str:
    """Return a number of read units in words."""
    return f"{number:g} read unit{'' if number == 1 else 's'}"


def _table(table: FoundTable) -> Iterator[str]:
    name = _scalar(table.name)
    if table.schema is None:
        yield from (f"  # {name}: {note}" for note in table.notes)
        return
    yield f"  {_scalar(table.logical_name)}:"
    yield f"    table: {name}    # in DynamoDB; callers use the name above, which may be another"
    yield from (f"    # {line}" for line in _facts(table))
    yield from (f"    # {note}" for note in table.notes)
    if table.time_to_live is not None:
        yield f"    time_to_live: {_scalar(table.time_to_live)}"
        yield "    # Items past it are shown until DynamoDB deletes them, unless this is set:"
        yield "    #hide_expired: true"
    if table.proposals is not None and table.sampled:
        yield from _proposals(table.schema, table.proposals, table.sampled)


def _facts(table: FoundTable) -> Iterator[str]:
    assert table.schema is not None, "a table without a schema has none to tell"
    described = table.description
    items, size = described.get("ItemCount", 0), described.get("TableSizeBytes", 0)
    yield f"Key: {_key(table.schema.base)}."
    yield f"Some {items:,} items in {size:,} bytes; DynamoDB counts them every few hours."
    for path in table.schema.paths[1:]:
        kind = "Local index" if path.kind is PathKind.LOCAL else "Global index"
        yield f"{kind} {_scalar(path.label)}: {_key(path)}; {_projection(path)}."
    for path in table.schema.unreadable:
        yield f"Index {_scalar(path.label)} is being made or deleted: not used until it is active."
    if table.proposals is not None:
        yield f"Sample: the first {table.sampled} items of a scan, for {units(table.read_units)}."
        seen = [f"{_scalar(name)} ({kinds})" for name, kinds in table.proposals.attributes.items()]
        more = ", ..." if len(seen) > _SHOWN_ATTRIBUTES else ""
        if seen:
            yield f"Attributes seen: {', '.join(seen[:_SHOWN_ATTRIBUTES])}{more}."


def _proposals(schema: TableSchema, found: Proposals, sampled: int) -> Iterator[str]:
    if found.required:
        yield f"    # Confirm that every item has these as an index needs them, as all {sampled} of"
        yield "    # the sample do. Otherwise an index is not used where it might leave out items."
        yield f"    #required: {_flow(list(found.required))}"
    for name, count in found.lacking.items():
        indexes = ", ".join(
            _scalar(path.label)
            for path in schema.paths[1:]
            if any(attribute.name == name for attribute in path.key.sort)
        )
        yield (
            f"    # {indexes} leaves out {count} of {sampled} sampled items: they have no valid "
            f"{_scalar(name)}."
        )
    if found.lacking:
        yield "    # To have such indexes used all the same, for every query:"
        yield "    #sparse: allow"
    if found.timestamps:
        yield "    # Confirm that these hold times: then callers write RFC 3339, and read it."
        yield f"    #timestamps: {_flow(found.timestamps)}"
    if found.templates:
        yield "    # Confirm how keys are composed, and give the fields the names that callers use."
        for template in found.templates:
            yield (
                f"    # {template.matching} of {template.values} sampled values of "
                f"{_scalar(template.attribute)} fit."
            )
        yield f"    #keys: {_flow({one.attribute: one.text for one in found.templates})}"
    if not any((found.required, found.lacking, found.timestamps, found.templates)):
        yield "    # The sample suggests nothing else."


def _key(path: AccessPath) -> str:
    return ", ".join(f"{_scalar(a.name)} ({_TYPES[a.type]})" for a in path.key.attributes)


def _projection(path: AccessPath) -> str:
    if path.projected is None:
        return "holds all attributes"
    others = sorted(path.projected.difference(path.cursor_attributes))
    return f"holds its keys and {_flow(others)}" if others else "holds keys only"


def _scalar(text: str) -> str:
    return _flow(text).removesuffix("\n...")


def _flow(value: Any) -> str:
    """Return a value as YAML on one line, quoted where YAML requires it."""
    text = _dumped(value)
    if "\n" not in text.removesuffix("\n..."):
        return text
    return _dumped(value, style='"')  # this style writes a line break as two characters


def _dumped(value: Any, style: str | None = None) -> str:
    return yaml.safe_dump(
        value,
        default_style=style,
        default_flow_style=True,
        width=1_000_000,
        sort_keys=False,
        allow_unicode=True,
    ).strip()
