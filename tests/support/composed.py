"""Random single-table designs: tables whose keys are composed of the fields that callers know.

Keys are composed and times written by code of the tests' own, from the words of the catalog's
documentation. Items have the attributes that a caller must see, with the stored keys beside. Names
that begin with NUL are for the oracle: the instants of timestamps, and the keys that no template
made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from tests.support.conditions import Wire, WireItem
from tests.support.datasets import FREE_NAMES, DataSet, Index, Schema, make_value
from tests.support.times import FORMS, SECOND, spelled

_START: Final = 1_767_225_600 * SECOND  # The first moment of 2026.
_FIELD: Final = re.compile(r"\{(\w+)(?::\d+)?\}")
# Fields that separators end, so that no value may hold one; code has four characters always.
_POOLS: Final = {
    "user_id": ("u1", "u2", "ü!"),
    "system_id": ("crm", "crm-", "b"),
    "resource_id": ("a", "a!", "a b", "ab", "😀", "\U0010ffff"),
    "kind": ("login", "log", "Z"),
    "code": ("AB12", "AB1 ", "ZZ😀9", "aaaa"),
}
_SORTS: Final = (
    "{occurred_at}#{event_id}", "EVENT#{event_id}", "{kind}#{occurred_at}#{event_id}",
    "{code:4}{event_id}", "{occurred_at}{event_id}", "AT#{occurred_at}##{event_id}#Z",
    "{event_id}#{occurred_at}", "{resource_id}|{event_id}",
)  # fmt: skip
_PARTITIONS: Final = (
    "USER#{user_id}", "{user_id}|{kind}", "{code:4}{user_id}", "T#{system_id}#USER#{user_id}",
)  # fmt: skip
_INDEX_PARTITIONS: Final = (
    "SYSTEM#{system_id}", "{system_id}#{resource_id}", "KIND#{kind}", "{kind}#{code:4}",
    "S{system_id}", "USER#{user_id}",
)  # fmt: skip
_INDEX_SORTS: Final = (
    "{occurred_at}", "{kind}#{occurred_at}", "{resource_id}#{occurred_at}", "{code:4}{event_id}",
    "AT#{occurred_at}#Z", "{resource_id}##{code:4}{occurred_at}", "{occurred_at}#{event_id}",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LogicalSchema(Schema):
    """A table as callers know it: keys are fields, of which the primary key may have several."""

    base: Index = field(default=Index("", True, (), ()))

    @property
    def keys(self) -> tuple[str, ...]:
        """The fields of the primary key."""
        return self.base.keys

    def index(self, name: str) -> Index:
        """Return the index of that name; the empty name and `@table` stand for the table."""
        if name in ("", "@table"):
            return self.base
        return next(index for index in self.indexes if index.name == name)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ComposedData(DataSet):
    """A single-table design with its items.

    `stored` is the table as DynamoDB has it, `templates` are those of its keys, `forms` those of
    its timestamps, `rows` its items as they are stored. `always` names the stored keys that the
    operator guarantees. `exposing` says whether callers see stored keys. `instants` are the
    nanoseconds that times, as shown, stand for.
    """

    stored: Schema = field(kw_only=True)
    templates: Mapping[str, str] = field(kw_only=True)
    forms: Mapping[str, str] = field(kw_only=True)
    exposing: bool = field(kw_only=True)
    rows: tuple[WireItem, ...] = field(kw_only=True)
    instants: Mapping[str, int] = field(kw_only=True)

    def __repr__(self) -> str:
        return f"make_composed({self.seed})"

    def held_by(self, index: Index) -> Iterator[WireItem]:
        """Yield the items of an index with keys that templates make.

        Other items are in partitions that no fields name.
        """
        stored = self.stored.index(index.name)
        for item in self.items:
            has_all = all(name in item for name in stored.keys)
            if has_all and not any(f"\0{name}" in item for name in stored.partition):
                yield item

    def shown(self, item: WireItem) -> WireItem:
        """Return an item as callers must see it."""
        hidden = () if self.exposing else self.templates
        return {n: value for n, value in item.items() if n[0] != "\0" and n not in hidden}

    @property
    def declaration(self) -> dict[str, Any]:
        """The table's entry in the catalog."""
        return {
            "table": self.schema.table,
            "keys": dict(self.templates),
            "timestamps": dict(self.forms),
            "expose_keys": self.exposing,
        }

    @property
    def separators(self) -> dict[str, set[str]]:
        """The text that follows fields in a key, which their values must not contain."""
        found: dict[str, set[str]] = {}
        for text in self.templates.values():
            for name, following in re.findall(r"\{(\w+)\}([^{]+)", text):
                if name not in self.forms:
                    found.setdefault(name, set()).add(following)
        return found


def fields_of(template: str) -> tuple[str, ...]:
    """Return the fields of a template in order."""
    return tuple(_FIELD.findall(template))


def make_composed(seed: int, *, size: int = 200) -> ComposedData:
    """Return the data set of a seed: about `size` items, in most one in eight of another kind."""
    random = Random(seed)
    templates, stored = _make_design(random, f"composed-{seed}")
    text_forms = [name for name, (_, is_text) in FORMS.items() if is_text]
    forms = {"occurred_at": random.choice(text_forms), "seen": random.choice(list(FORMS))}
    optional = [n for n in stored.types if n not in stored.keys]
    whole = random.random() < 0.5
    always = frozenset(n for n in optional if whole or random.random() < 0.5)
    alike = random.random() < 0.4
    exposing = random.random() < 0.25
    maker = _Items(random, templates, stored, forms, always, alike=alike)
    made = {repr([row[n] for n in stored.keys]): (row, seen) for row, seen in maker.make(size)}
    return ComposedData(
        seed,
        _logical(templates, stored),
        tuple(item for _, item in made.values()),
        always if alike else always - _shared(templates),
        stored=stored,
        templates=templates,
        forms=forms,
        exposing=exposing,
        rows=tuple(row for row, _ in made.values()),
        instants=maker.instants,
    )


def _make_design(random: Random, table: str) -> tuple[dict[str, str], Schema]:
    """Return the templates of keys, and the table that is to have them."""
    templates = {"PK": random.choice(_PARTITIONS), "SK": random.choice(_SORTS)}
    types = {"PK": "S", "SK": "S"}
    indexes: list[Index] = []

    def add(prefix: str, choices: tuple[str, ...], plain: str, number: int) -> tuple[str, ...]:
        """Return an index's partition or sort attributes: one, or two of different kinds."""
        names = [f"{prefix}{number}"]
        templates[names[0]] = random.choice(choices)
        if random.random() < 0.25:
            more = random.choice((plain, f"{prefix}{number}B"))
            if more != plain:
                templates[more] = random.choice(choices)
            names.insert(random.randint(0, 1), more)
        types.update({name: "N" if name == "level" else "S" for name in names})
        return tuple(names)

    for number in range(random.randint(1, 2)):
        partition = add("GP", _INDEX_PARTITIONS, "region", number)
        sort = add("GS", _INDEX_SORTS, "level", number)
        projection = random.choice(("ALL", "KEYS_ONLY", "INCLUDE"))
        include = tuple(random.sample(FREE_NAMES, 3)) if projection == "INCLUDE" else ()
        indexes.append(Index(f"by-{number}", False, partition, sort, projection, include))
    if "occurred_at" not in templates["SK"] and random.random() < 0.5:
        indexes.append(Index("inverted", False, ("SK",), ("PK",), "KEYS_ONLY"))
    return templates, Schema(table, "PK", "SK", tuple(indexes), types)


def _shared(templates: Mapping[str, str]) -> set[str]:
    """Return the keys with a field that another key has as well.

    A guarantee of such a key says that all items have it as its template makes it: an item of which
    only the other key has the field would be missed in the index.
    """
    fields = [name for text in templates.values() for name in fields_of(text)]
    return {n for n, text in templates.items() if any(fields.count(f) > 1 for f in fields_of(text))}


def _logical(templates: Mapping[str, str], stored: Schema) -> LogicalSchema:
    """Return a table as callers know it."""

    def said(names: tuple[str, ...]) -> tuple[str, ...]:
        fields = (fields_of(templates[n]) if n in templates else (n,) for n in names)
        return tuple(dict.fromkeys(name for each in fields for name in each))

    def seen(index: Index) -> Index:
        # The fields of a partition need not be part of the sort key again.
        partition = said(index.partition)
        sort = tuple(name for name in said(index.sort) if name not in partition)
        return Index(index.name, index.local, partition, sort, index.projection, index.include)

    names = said(tuple(stored.types))
    # Times are compared as times, so their conditions are drawn by the queries' own generator.
    types = {name: stored.types.get(name, "S") for name in names if name != "occurred_at"}
    indexes = tuple(map(seen, stored.indexes))
    return LogicalSchema(stored.table, "", None, indexes, types, seen(stored.index("")))


class _Items:
    """Makes items, stored and as the oracle needs them."""

    def __init__(
        self,
        random: Random,
        templates: Mapping[str, str],
        stored: Schema,
        forms: Mapping[str, str],
        always: frozenset[str],
        *,
        alike: bool,
    ) -> None:
        self._random, self._templates, self._stored = random, templates, stored
        self._forms, self._always, self._alike = forms, always, alike
        self.instants: dict[str, int] = {}
        self._moments = {name: self._make_moments(form) for name, form in forms.items()}

    def _make_moments(self, form: str) -> list[int]:
        """Return instants that a form can store; some before 1970, some very close together."""
        unit = SECOND // 10 ** FORMS[form][0]
        close = [_START + self._random.randint(0, 9) * unit for _ in range(6)]
        days = [_START + self._random.randint(-9, 40) * 86_400 * SECOND for _ in range(8)]
        any_time = [_START + self._random.randrange(10**15) // unit * unit for _ in range(8)]
        return [*close, *days, *any_time, 0, -self._random.randrange(10**15) // unit * unit]

    def make(self, size: int) -> Iterator[tuple[WireItem, WireItem]]:
        """Yield items as they are stored, each with the oracle's version."""
        for number in range(size):
            row: WireItem = {}
            for name in FREE_NAMES:
                if self._random.random() < 0.5:
                    row[name] = make_value(self._random)
            item = dict(row)
            self._add_keys(row, item, number)
            self._add_seen(row, item)
            yield row, item

    def _add_keys(self, row: WireItem, item: WireItem, number: int) -> None:
        """Compose the keys; an item of another kind has some that no template makes."""
        fields = {name: self._random.choice(pool) for name, pool in _POOLS.items()}
        # Unique, many the beginning of another that goes on with less than a separator.
        fields["event_id"] = f"{'abé'[number % 3]}{number // 9}{'!' * (number // 3 % 3)}"
        moment = self._random.choice(self._moments["occurred_at"])
        fields["occurred_at"] = self._shown("occurred_at", moment)
        foreign = not self._alike and self._random.random() < 0.125
        for name in self._stored.types:
            vouched = name in self._stored.keys or name in self._always
            if not vouched and self._random.random() < 0.25:
                continue
            if name not in self._templates:
                values = {"region": ("eu", "us"), "level": ("1", "2", "10", "-1")}[name]
                row[name] = item[name] = {self._stored.types[name]: self._random.choice(values)}
            elif foreign and not (name == "PK" and number % 4):
                # Too short for a template with a width, and without any separator.
                row[name] = item[name] = item[f"\0{name}"] = {"S": f"~{number % 10}"}
            else:
                template = self._templates[name]
                key = {"S": _FIELD.sub(lambda found: fields[found[1]], template)}
                row[name] = item[name] = key
                item |= {each: {"S": fields[each]} for each in fields_of(template)}
        if "occurred_at" in item:
            item["\0occurred_at"] = {"N": str(moment)}

    def _add_seen(self, row: WireItem, item: WireItem) -> None:
        """Add a time that is no part of a key, or another value under its name, or nothing."""
        digits, is_text = FORMS[self._forms["seen"]]
        fate = self._random.random()
        if fate < 0.1:
            return
        if fate < 0.2:
            row["seen"] = item["seen"] = {"N": "5"} if is_text else {"S": "later"}
            return
        moment = self._random.choice(self._moments["seen"])
        item["seen"] = {"S": self._shown("seen", moment)}
        item["\0seen"] = {"N": str(moment)}
        number: Wire = {"N": str(moment * 10**digits // SECOND)}
        row["seen"] = item["seen"] if is_text else number

    def _shown(self, name: str, moment: int) -> str:
        text = spelled(moment, FORMS[self._forms[name]][0])
        self.instants[text] = moment
        return text
