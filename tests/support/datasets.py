"""Random tables and their items.

A data set is made from a seed alone, so a failing one can be made again. Its tables are meant to be
hard: few partitions, many ties on index sort keys, attributes that most items lack, names that are
reserved words, every type of value under the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from tests.support.conditions import Wire, WireItem
from tests.support.oracle import canonical

KINDS: Final = ("S", "N", "B")
WORDS: Final = (
    "",
    "a",
    "ab",
    "abc",
    "b",
    "ba",
    "Z",
    "é",
    "ｱ",
    "😀",
    "o'clock",
    "-",
    "00.5Z",
    "00Z",
)
NUMBERS: Final = (
    "0", "1", "1.0", "-1", "2", "10", "9", "0.1", "-0.5", "1E2", "100", "1E-130", "3.14159",
    "99999999999999999999999999999999999999", "-9.9999999999999999999999999999999999999E+125",
)  # fmt: skip
BLOBS: Final = (b"", b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff", b"ab", b"abc", b"\x00\x01")
# Attributes of any type, or absent, from item to item. Most are reserved words or need quotes.
FREE_NAMES: Final = ("status", "size", "and", "first name", 'quo"ted', "größe", "tags", "x.y")
_KEY_NAMES: Final = ("timestamp", "user", "level", "zone", "raw-key", "_ref", "hash", "seq")


@dataclass(frozen=True, slots=True)
class Index:
    """A secondary index. `projection` is ALL, KEYS_ONLY or INCLUDE."""

    name: str
    local: bool
    partition: tuple[str, ...]
    sort: tuple[str, ...]
    projection: str = "ALL"
    include: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The index's own key attributes."""
        return self.partition + self.sort

    @property
    def is_wide(self) -> bool:
        """Whether the key has more attributes than DynamoDB allowed for years."""
        return len(self.keys) > 2


@dataclass(frozen=True, slots=True)
class Schema:
    """A table: its primary key, its indexes and the types of every key attribute."""

    table: str
    partition: str
    sort: str | None
    indexes: tuple[Index, ...]
    types: dict[str, str]

    @property
    def keys(self) -> tuple[str, ...]:
        """The primary key's attributes."""
        return (self.partition,) if self.sort is None else (self.partition, self.sort)

    def index(self, name: str) -> Index:
        """Return the index of that name; the empty name and `@table` stand for the table."""
        if name in ("", "@table"):
            sort = () if self.sort is None else (self.sort,)
            return Index("", True, (self.partition,), sort)
        return next(index for index in self.indexes if index.name == name)

    def projects(self, index: Index, attribute: str) -> bool:
        """Return whether an index holds an attribute."""
        held = (*self.keys, *index.keys, *index.include)
        return index.projection == "ALL" or attribute in held


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class DataSet:
    """A table with its items. `always` names the non-key attributes that no item lacks."""

    seed: int
    schema: Schema
    items: tuple[WireItem, ...]
    always: frozenset[str] = field(default_factory=frozenset)

    def __repr__(self) -> str:
        return f"make_dataset({self.seed})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # Hypothesis prints the arguments of strategies, often; the seed identifies the data.
        printer.text(repr(self))

    def held_by(self, index: Index) -> Iterator[WireItem]:
        """Yield the items that an index holds: those that have all of its key attributes."""
        return (item for item in self.items if all(name in item for name in index.keys))

    def values_of(self, attribute: str) -> list[Wire]:
        """Return the values that an attribute has, in the order of the items."""
        return [item[attribute] for item in self.items if attribute in item]


def make_dataset(seed: int, *, prefix: str = "cases", size: int = 240) -> DataSet:
    """Return the data set of a seed: about `size` items under a random schema."""
    random = Random(seed)
    schema = _make_schema(random, f"{prefix}-{seed}")
    free_keys = [name for name in schema.types if name not in schema.keys]
    always = frozenset(name for name in free_keys if random.random() < 0.4)
    # An index with many keys would be empty if each were as rare and as varied as others.
    wide = {name for index in schema.indexes if index.is_wide for name in index.keys}
    pools = {name: _key_pool(random, schema, name, wide) for name in schema.types}
    unique: dict[str, WireItem] = {}
    for _ in range(size):
        item = {name: random.choice(pools[name]) for name in schema.keys}
        for name in free_keys:
            if name in always or random.random() < (0.95 if name in wide else 0.7):
                item[name] = random.choice(pools[name])
        for name in FREE_NAMES:
            if random.random() < 0.5:
                item[name] = make_value(random)
        unique[repr([item[name] for name in schema.keys])] = item
    return DataSet(seed, schema, tuple(_without_equal_keys(unique.values(), schema)), always)


def _without_equal_keys(items: Iterable[WireItem], schema: Schema) -> Iterator[WireItem]:
    """Drop items whose key another item has in another spelling: `1` and `1.0` are one key."""
    seen = set()
    for item in items:
        key = tuple(canonical(item[name]) for name in schema.keys)
        if key not in seen:
            seen.add(key)
            yield item


def _make_schema(random: Random, table: str) -> Schema:
    names = random.sample(_KEY_NAMES, len(_KEY_NAMES))
    types = {name: random.choice(KINDS) for name in names}
    partition, *spare = names
    sort = spare.pop() if random.random() < 0.8 else None
    indexes: list[Index] = []
    if sort is not None:
        for number in range(random.randint(0, 2)):
            local_sort = (spare[number],)
            indexes.append(_make_index(random, f"local-{number}", True, (partition,), local_sort))
    indexes += [
        _make_global_index(random, f"global-{number}", names, spare)
        for number in range(random.randint(1, 3))
    ]
    used = {partition, sort, *(name for index in indexes for name in index.keys)} - {None}
    return Schema(
        table,
        partition,
        sort,
        tuple(indexes),
        {name: types[name] for name in names if name in used},
    )


def _make_global_index(random: Random, name: str, names: list[str], spare: list[str]) -> Index:
    several = random.random() < 0.3
    if several:
        # Up to four of each, DynamoDB's most.
        partition = tuple(random.sample(spare, random.choice((1, 2, 3, 4, 4))))
        sorts = random.choice((2, 3, 4, 4))
    else:
        partition = tuple(random.sample(names, 1))
        sorts = int(random.random() < 0.8)
    rest = [each for each in names if each not in partition]
    return _make_index(random, name, False, partition, tuple(random.sample(rest, sorts)))


def _make_index(
    random: Random, name: str, local: bool, partition: tuple[str, ...], sort: tuple[str, ...]
) -> Index:
    projection = random.choice(("ALL", "ALL", "INCLUDE", "KEYS_ONLY"))
    include = tuple(random.sample(FREE_NAMES, 3)) if projection == "INCLUDE" else ()
    return Index(name, local, partition, sort, projection, include)


def _key_pool(random: Random, schema: Schema, name: str, wide: set[str]) -> list[Wire]:
    """Return the values of a key attribute: few where they make partitions or ties."""
    kind = schema.types[name]
    if name == schema.partition:
        wanted = 4 if schema.sort else 400
    elif name == schema.sort:
        wanted = 120
    elif name in wide:
        wanted = random.choice((1, 2, 3))
    else:
        wanted = random.choice((2, 4, 12))
    return [make_key(random, kind, spread=wanted) for _ in range(wanted)]


def make_key(random: Random, kind: str, *, spread: int = 12) -> Wire:
    """Return a value for a key attribute, never an empty one."""
    if kind == "S":
        return {
            "S": random.choice(WORDS[1:]) + (str(random.randrange(spread)) if spread > 4 else "")
        }
    if kind == "N":
        number = random.choice(NUMBERS) if random.random() < 0.4 else str(random.randint(-99, 99))
        return {"N": str(random.randint(-spread, spread)) if spread > 100 else number}
    return {"B": random.choice(BLOBS[1:]) + (bytes([random.randrange(256)]) if spread > 4 else b"")}


def make_value(random: Random, depth: int = 0) -> Wire:
    """Return a value of any type, scalars more often."""
    kinds = ("S", "N", "B", "S", "N", "BOOL", "NULL", "SS", "NS", "BS", "L", "M")
    return _MAKERS[random.choice(kinds if depth < 2 else kinds[:7])](random, depth)


_MAKERS: Final[dict[str, Callable[[Random, int], Wire]]] = {
    "S": lambda random, _: {"S": random.choice(WORDS)},
    "N": lambda random, _: {"N": random.choice(NUMBERS)},
    "B": lambda random, _: {"B": random.choice(BLOBS)},
    "BOOL": lambda random, _: {"BOOL": random.random() < 0.5},
    "NULL": lambda random, _: {"NULL": True},
    "SS": lambda random, _: {"SS": random.sample(WORDS, random.randint(1, 4))},
    # No two spellings of one number: a set with both is refused.
    "NS": lambda random, _: {"NS": random.sample(("0", "1", "-1", "2.50", "1E2"), 3)},
    "BS": lambda random, _: {"BS": random.sample(BLOBS, random.randint(1, 3))},
    "L": lambda random, depth: {
        "L": [make_value(random, depth + 1) for _ in range(random.randint(0, 3))]
    },
    "M": lambda random, depth: {
        "M": {
            name: make_value(random, depth + 1)
            for name in random.sample(("a", "or", "k k", "städte"), random.randint(0, 3))
        }
    },
}
