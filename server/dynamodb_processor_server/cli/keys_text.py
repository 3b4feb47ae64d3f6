"""Edits the text of a keys file, so that its comments, order and indentation stay."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import yaml

from dynamodb_processor_server.auth.keys_file import KeyEntry, render_entry


def with_entry(text: str, entry: KeyEntry) -> str:
    """Return the file's text with the entry after the last key, and no other change."""
    # The file is known to be valid: a mapping that has the list of keys.
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    listed = next(value for name, value in root.value if name.value == "keys")
    if listed.flow_style and not listed.value:
        # `keys: []`
        start, end = listed.start_mark.index, listed.end_mark.index
        return f"{text[:start].rstrip()}\n{render_entry(entry).rstrip()}{text[end:]}"
    rendered = render_entry(entry, indent=listed.start_mark.column)
    if listed is root.value[-1][1]:
        return f"{text.rstrip()}\n{rendered}"
    end = text.find("\n", _end_of(listed)) + 1
    return f"{text[:end]}{rendered}{text[end:]}"


def _end_of(node: Any) -> int:
    """Return the index behind the last text of a node; that of a block ends at the next token."""
    while not isinstance(node, yaml.ScalarNode) and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def with_successor(text: str, key_id: str, successor: KeyEntry, ends: datetime) -> str:
    """Return the text of a valid file with another key behind that of `key_id`, which gets an end.

    The other key is a copy with the id, the digest and the `expires` of `successor`.
    """
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    listed = next(value for name, value in root.value if name.value == "keys")
    entry = next(one for one in listed.value if _scalar(one, "id").value == key_id)
    start, end = entry.start_mark.index, _end_of(entry)
    copied = {"id": successor.id, "digest": f'"{successor.digest}"'}
    if successor.expires is not None:
        copied["expires"] = _time(successor.expires)
    copy = _changed(text[start:end], entry, copied)
    old = _changed(text[start:end], entry, {"expires": _time(ends)})
    if listed.flow_style:
        return f"{text[:start]}{old}, {copy}{text[end:]}"
    dash = listed.start_mark.column
    item = " " * dash + "-" + " " * (entry.start_mark.column - dash - 1) + copy
    line_end = text.find("\n", end)
    rest = text[end:] if line_end < 0 else text[end:line_end]
    behind = "" if line_end < 0 else text[line_end:]
    return f"{text[:start]}{old}{rest}\n{item}{behind}"


def _changed(text: str, entry: Any, values: dict[str, str]) -> str:
    """Return the text of an entry with other values of some fields, new ones behind its id."""
    start = entry.start_mark.index
    edits = []
    for name, value in values.items():
        found = _scalar(entry, name)
        if found is not None:
            edits.append((found.start_mark.index, found.end_mark.index, value))
            continue
        at = _scalar(entry, "id").end_mark.index
        separator = ", " if entry.flow_style else "\n" + " " * entry.start_mark.column
        edits.append((at, at, f"{separator}{name}: {value}"))
    for first, last, value in sorted(edits, reverse=True):
        text = text[: first - start] + value + text[last - start :]
    return text


def _scalar(entry: Any, field: str) -> Any:
    """Return the node of a field's value, None if the entry has no such field."""
    return next((value for name, value in entry.value if name.value == field), None)


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
