"""Stream records, and the partitions of the table and its indexes that each write affects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from dynamodb_processor_server.cache.item_refresh import ItemChange
from dynamodb_processor_server.catalog.schema import AccessPath, TableSchema
from dynamodb_processor_server.query.expression.values import Value, WireItem, from_wire
from dynamodb_processor_server.query.planning.tags import Partition

Change: TypeAlias = Literal["INSERT", "MODIFY", "REMOVE"]


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One write to a table, as a stream shows it.

    Attributes:
        sequence: The record's sequence number in its shard.
        change: The kind of write, in DynamoDB's words.
        old: The item before the write, None where the stream has no image of it.
        new: The item after the write, None where the stream has no image of it.
        age: Seconds since the write, by DynamoDB's clock and ours: good for a metric, not for a
            decision.
        created: When the record was created, in seconds since the epoch, by DynamoDB's clock and
            rounded down to a second.
    """

    sequence: str
    change: Change
    old: WireItem | None
    new: WireItem | None
    age: float = 0.0
    created: float = 0.0

    @property
    def has_images(self) -> bool:
        """Whether the record shows the whole item before and after the write.

        It does if the stream's view type is NEW_AND_OLD_IMAGES: new items have no old image,
        deleted items no new image.
        """
        return (self.change == "INSERT" or self.old is not None) and (
            self.change == "REMOVE" or self.new is not None
        )


def affected_partitions(schema: TableSchema, record: StreamRecord) -> Iterator[Partition]:
    """Yield the partitions of every path that held the item before a write or hold it after.

    An index does not hold an item that lacks one of its key attributes, or has it with another type
    (such an item may be older than the index). The record must have both images.
    """
    for image in (record.old, record.new):
        if image is not None:
            for path in schema.all_paths:
                if _holds(path, image):
                    names = (attribute.name for attribute in path.key.partition)
                    yield path, tuple(from_wire(image[name]) for name in names)


def item_changes(schema: TableSchema, records: Sequence[StreamRecord]) -> list[ItemChange]:
    """Return the last change of each item in some records, which must have both images."""
    names = schema.base.cursor_attributes
    changes: dict[tuple[Value, ...], ItemChange] = {}
    for record in records:
        image = record.new if record.change != "REMOVE" else record.old
        assert image is not None, "the record has both images"
        key = {name: image[name] for name in names}
        item = None if record.change == "REMOVE" else image
        change = ItemChange(key, item, int(record.sequence), record.created)
        changes[tuple(from_wire(key[name]) for name in names)] = change
    return list(changes.values())


def _holds(path: AccessPath, image: WireItem) -> bool:
    return all(
        any(map(attribute.may_have_type, image.get(attribute.name, ())))
        for attribute in path.key.attributes
    )
