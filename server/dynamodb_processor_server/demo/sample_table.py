"""The description of a sample table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Item: TypeAlias = dict[str, Any]

_PREFIX: Final = "dynamodb-processor-demo-"


@dataclass(frozen=True, slots=True)
class SampleKey:
    """A partition key and a sort key. All keys of the samples are strings."""

    partition: str
    sort: str

    @property
    def attributes(self) -> tuple[str, str]:
        """The two names, partition key first."""
        return self.partition, self.sort

    def covers(self, item: Item) -> bool:
        """Tell whether an index with this key contains the item."""
        return self.partition in item and self.sort in item


@dataclass(frozen=True, slots=True)
class SampleTable:
    """A table, with its items.

    Attributes:
        name: Its name in the catalog.
        description: Its description in the catalog.
        key: The primary key.
        indexes: The global secondary indexes; all project every attribute.
        required: Attributes that every item has.
        items: The items, as Python values: `str`, `Decimal`, `bytes`, `bool`, `None`, `set`,
            `list` and `dict`.
        config: The other fields of its catalog entry.
    """

    name: str
    description: str
    key: SampleKey
    indexes: Mapping[str, SampleKey]
    required: tuple[str, ...]
    items: tuple[Item, ...] = field(repr=False)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dynamodb_name(self) -> str:
        """Its name in DynamoDB, which no other table should have."""
        return _PREFIX + self.name.replace("_", "-")

    @property
    def paths(self) -> Mapping[str | None, SampleKey]:
        """The keys by index; the primary key under `None`."""
        keys: dict[str | None, SampleKey] = {None: self.key}
        keys.update(self.indexes)
        return keys

    def count(self, index: str | None = None) -> int:
        """Return the number of items in the table, or in one of its indexes."""
        key = self.paths[index]
        return sum(key.covers(item) for item in self.items)

    def partition(self, value: str, index: str | None = None) -> Iterator[Item]:
        """Yield the items of one partition of the table, or of an index, by sort key."""
        key = self.paths[index]
        found = [item for item in self.items if key.covers(item) and item[key.partition] == value]
        yield from sorted(found, key=lambda item: str(item[key.sort]))

    def declaration(self) -> dict[str, Any]:
        """Return the table's entry in the catalog file."""
        return {
            "table": self.dynamodb_name,
            "description": self.description,
            "required": list(self.required),
            **self.config,
        }
