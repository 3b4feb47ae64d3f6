"""What the demo knows about each of its tables."""

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
        """Tell whether an index with this key holds the item."""
        return self.partition in item and self.sort in item


@dataclass(frozen=True, slots=True)
class SampleTable:
    """A table, and all that is in it.

    Attributes:
        name: Its name in the catalog.
        description: The catalog's words about it.
        key: The primary key.
        indexes: The global secondary indexes; all project every attribute.
        required: Attributes that every item has.
        items: The items, as Python values: `str`, `Decimal`, `bytes`, `bool`, `None`, `set`,
            `list` and `dict`.
        declared: What else the catalog says of it.
    """

    name: str
    description: str
    key: SampleKey
    indexes: Mapping[str, SampleKey]
    required: tuple[str, ...]
    items: tuple[Item, ...] = field(repr=False)
    declared: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dynamodb_name(self) -> str:
        """Its name in DynamoDB, where nothing else should be called like that."""
        return _PREFIX + self.name.replace("_", "-")

    @property
    def paths(self) -> Mapping[str | None, SampleKey]:
        """The keys by index, the primary one under None."""
        keys: dict[str | None, SampleKey] = {None: self.key}
        keys.update(self.indexes)
        return keys

    def count(self, index: str | None = None) -> int:
        """Return how many items the table, or one of its indexes, holds."""
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
            **self.declared,
        }
