"""The results of `ddbq` as text: JSON for programs, tables and trees for people."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text
from rich.tree import Tree

from dynamodb_processor_client.caches import CacheCounters, CacheStats
from dynamodb_processor_client.explanations import AccessPath, Explanation
from dynamodb_processor_client.pages import CacheInfo, PageStats
from dynamodb_processor_client.tables import Index, IndexKind, KeyAttribute, KeySchema, Table
from dynamodb_processor_client.terminal import printable
from dynamodb_processor_client.values import Item


def to_json(value: object) -> str:
    """Return an item or one of its values as JSON on one line.

    Numbers keep every digit, binary values become base64, and sets become sorted lists.
    """
    match value:
        case Decimal():
            return str(value)
        case bytes():
            return json.dumps(base64.b64encode(value).decode("ascii"))
        case Mapping():
            fields = (
                f"{json.dumps(name, ensure_ascii=False)}: {to_json(one)}"
                for name, one in value.items()
            )
            return "{" + ", ".join(fields) + "}"
        case set() | frozenset():
            return to_json(sorted(value))
        case list() | tuple():
            return "[" + ", ".join(to_json(member) for member in value) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def items_grid(items: Iterable[Item], projection: Sequence[str] = ()) -> Grid:
    """Return items as a table: projected attributes in their order, the others by name."""
    rows = list(items)
    found = set().union(*rows)
    leading = [name for name in projection if name in found]
    names = leading + sorted(found.difference(leading))
    grid = _grid(names)
    for item in rows:
        grid.add_row(*(_cell(item[name]) if name in item else "" for name in names))
    return grid


def fits(grid: Grid, console: Console) -> bool:
    """Tell whether the columns fit side by side: long values may fold, names may not."""
    needed = 1
    for column in grid.columns:
        header, *cells = (cell_len(str(cell)) for cell in column.cells)
        needed += 3 + min(max([header, *cells]), max(header, _READABLE))
    return needed <= console.width


_READABLE = 12  # characters of a longer value that is folded


def records(items: Iterable[Item], projection: Sequence[str] = (), before: int = 0) -> Text:
    """Return items with one attribute a line; the number of the first follows `before`."""
    shown = Text()
    for number, item in enumerate(items, start=before + 1):
        leading = [name for name in projection if name in item]
        names = leading + sorted(item.keys() - set(leading))
        width = max((cell_len(printable(name)) for name in names), default=0)
        shown.append(f"--- {number} ---\n")
        for name in names:
            label = printable(name)
            padding = " " * (width - cell_len(label) + 2)
            shown.append(f"{label}{padding}{_cell(item[name])}\n")
    shown.rstrip()
    return shown


def json_for_terminal(text: str) -> str:
    """Return JSON with all control and invisible characters as JSON escapes."""
    return "".join(char if char.isprintable() or char == "\n" else _escape(char) for char in text)


def _escape(char: str) -> str:
    return json.dumps(char)[1:-1] if ord(char) > 0x7F else f"\\u{ord(char):04x}"


def rows_grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Grid:
    """Return rows of text as a table."""
    grid = _grid(header)
    for row in rows:
        grid.add_row(*(_text(cell) for cell in row))
    return grid


def table_fields(table: Table) -> dict[str, object]:
    """Return the description of a table for `to_json`."""
    return {
        "name": table.name,
        "description": table.description,
        "key": key_text(table.key),
        "indexes": [
            {"name": index.name, "key": key_text(index.key), "attributes": _projected(index)}
            for index in table.indexes
        ],
        "visible_attributes": list(table.visible_attributes),
        "required_attributes": list(table.required_attributes),
        "default_page_size": table.default_page_size,
        "max_page_size": table.max_page_size,
        "cache_ttl": table.cache_ttl.total_seconds(),
        "allow_scan": table.allow_scan,
        "timestamp_attributes": list(table.timestamp_attributes),
        "time_to_live_attribute": table.time_to_live_attribute,
        "key_types": _key_types(table),
    }


def _key_types(table: Table) -> dict[str, str]:
    """Return the types of the key attributes that queries can name."""
    keys = (table.key, *(index.key for index in table.indexes))
    attributes = (one for key in keys for one in (*key.partition, *key.sort))
    return {one.name: one.type.name for one in attributes if one.name}


def _index_text(index: Index) -> str:
    return f"{index.name} (local)" if index.kind is IndexKind.LOCAL else index.name


def table_grid(table: Table) -> Grid:
    """Return the access paths of a table: its own key and its indexes."""
    paths = [("@table", key_text(table.key), "all")]
    paths += (
        (_index_text(index), key_text(index.key), _projected(index)) for index in table.indexes
    )
    return rows_grid(("index", "key", "attributes"), paths)


def table_view(table: Table) -> RenderableType:
    """Return the description of a table for people."""
    seconds = table.cache_ttl.total_seconds()
    ttl = table.time_to_live_attribute
    facts = (
        ("key types", ", ".join(f"{name} {kind}" for name, kind in _key_types(table).items())),
        ("attributes", ", ".join(table.visible_attributes)),
        ("in every item", ", ".join(table.required_attributes)),
        ("timestamps (RFC 3339)", ", ".join(table.timestamp_attributes)),
        ("time to live", f"{ttl}; items past it are left out" if ttl else ""),
        ("page size", f"{table.default_page_size}, at most {table.max_page_size}"),
        ("cached", f"for {seconds:g} s" if seconds else "not at all"),
        ("scans", "allowed" if table.allow_scan else "refused"),
    )
    lines = [_text(f"{name}: {value}") for name, value in facts if value]
    title = f"{table.name}: {table.description}" if table.description else table.name
    return Group(_text(title), table_grid(table), *lines)


def cache_grid(stats: CacheStats) -> Grid:
    """Return the cache counters as a table: a row for each table, and the total.

    Hits and misses are those of pages and of single items together.
    """
    header = ("table", "entries", "bytes", "hits", "misses", "evictions")
    uses = [*stats.tables.items(), ("(all)", stats.total)]
    return rows_grid(header, ((name, *map(str, _shown_counters(use))) for name, use in uses))


def _shown_counters(use: CacheCounters) -> tuple[int, ...]:
    hits, misses = use.hits + use.item_hits, use.misses + use.item_misses
    return use.entries, use.bytes, hits, misses, use.evictions


def explanation_fields(explanation: Explanation) -> dict[str, object]:
    """Return the plan of a query for `to_json`."""
    return {
        "path": explanation.path.name,
        "index": explanation.index,
        "key_condition": explanation.key_condition,
        "filter_expression": explanation.filter_expression,
        "local_filter": explanation.local_filter,
        "branches": explanation.branches,
        "rejected": [
            {"index": other.index, "reason": other.reason} for other in explanation.rejected
        ],
        "warnings": list(explanation.warnings),
    }


def explanation_tree(explanation: Explanation) -> Tree:
    """Return the plan of a query as a tree: the chosen path, then the others with the reasons."""
    where = f" {explanation.index}" if explanation.index else ""
    tree = Tree(_text(_PATHS[explanation.path] + where))
    for label, condition in (
        ("key condition", explanation.key_condition),
        ("filtered by DynamoDB", explanation.filter_expression),
        ("filtered by the service", explanation.local_filter),
        ("partitions", str(explanation.branches) if explanation.branches > 1 else ""),
    ):
        if condition:
            tree.add(_text(f"{label}: {condition}"))
    _add_list(tree, "warnings", explanation.warnings)
    _add_list(tree, "not taken", (f"{one.index}: {one.reason}" for one in explanation.rejected))
    return tree


_PATHS = {
    AccessPath.UNKNOWN: "a way that this client does not know",
    AccessPath.GET: "get of one item",
    AccessPath.TABLE: "query of the table",
    AccessPath.LOCAL_INDEX: "query of local index",
    AccessPath.GLOBAL_INDEX: "query of global index",
    AccessPath.SCAN: "scan",
    AccessPath.NOTHING: "nothing is read: the condition contradicts itself",
}


def _add_list(tree: Tree, label: str, lines: Iterable[str]) -> None:
    branch = None
    for line in lines:
        branch = branch or tree.add(_text(label))
        branch.add(_text(line))


def key_text(key: KeySchema) -> str:
    """Return a key as `partition, ... / sort, ...`, composed attributes with their templates."""
    partition = ", ".join(map(_attribute_text, key.partition))
    sort = ", ".join(map(_attribute_text, key.sort))
    return f"{partition} / {sort}" if sort else partition


def _attribute_text(attribute: KeyAttribute) -> str:
    return " = ".join(filter(None, (attribute.name, attribute.template)))


def stats_text(stats: PageStats, cache: CacheInfo | None = None) -> str:
    """Return the cost of an answer on one line."""
    parts = [
        f"index {stats.index_used or '@table'}",
        f"{stats.items_returned:,} items of {stats.items_scanned:,} read",
        f"read units {stats.read_units:g}",
        f"requests {stats.backend_calls}",
        f"retries {stats.throttle_retries}" if stats.throttle_retries else "",
        f"DynamoDB {stats.backend_time / timedelta(milliseconds=1):.1f} ms",
        _cache_text(cache) if cache else "",
    ]
    return ", ".join(filter(None, parts))


def _cache_text(cache: CacheInfo) -> str:
    age = f", {cache.age.total_seconds():g} s old" if cache.age else ""
    left = cache.expires_in
    expires = f", expires in {left.total_seconds():g} s" if left is not None else ""
    return f"cache {cache.status.name}{age}{expires}"


def _projected(index: Index) -> str:
    return "all" if index.projects_all else ", ".join(index.projected_attributes)


def _grid(header: Iterable[str]) -> Grid:
    grid = Grid()
    for name in header:
        grid.add_column(_text(name))
    return grid


def _cell(value: object) -> Text:
    return _text(value if isinstance(value, str) else to_json(value))


def _text(content: str) -> Text:
    # A `Text` is not parsed for markup.
    return Text(printable(content), overflow="fold")
