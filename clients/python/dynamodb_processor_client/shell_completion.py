"""The completion of `ddbq shell`: commands, options, tables, attributes and indexes."""

from __future__ import annotations

import argparse
import asyncio
import shlex
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from dynamodb_processor_client.arguments import command_parser
from dynamodb_processor_client.client import QueryClient
from dynamodb_processor_client.destinations import ITEM_FORMS, VALUE_FORMS
from dynamodb_processor_client.errors import QueryError
from dynamodb_processor_client.tables import Table, known_names

#: The characters between which a word is completed: those around names in a condition, too. Quotes
#: are none of them, because readline would close them after a completion.
DELIMITERS: Final = " \t\n()=<>,"
_LOOKUP_SECONDS: Final = 3.0
_FUNCTIONS: Final = (
    "AND",
    "BETWEEN",
    "IN",
    "NOT",
    "OR",
    "attribute_exists(",
    "attribute_not_exists(",
    "attribute_type(",
    "begins_with(",
    "contains(",
    "size(",
)


class Names(Protocol):
    """The names of a deployment, for completion."""

    def tables(self) -> Sequence[str]:
        """Return the tables."""
        ...

    def indexes(self, table: str) -> Sequence[str]:
        """Return the indexes of a table."""
        ...

    def attributes(self, table: str) -> Iterable[str]:
        """Return the attributes of a table that are known without reading items."""
        ...


class Catalog:
    """The names that the service has, each looked up once in a session."""

    def __init__(self, client: QueryClient, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        """Look names up with `client`; `run` waits for a coroutine."""
        self._client = client
        self._run = run
        self._names: list[str] | None = None
        self._tables: dict[str, Table] = {}

    def tables(self) -> Sequence[str]:
        """Return the granted tables."""
        if self._names is None:
            found = self._look_up(self._client.tables())
            if found is None:
                return ()
            self._names = [table.name for table in found]
        return self._names

    def indexes(self, table: str) -> Sequence[str]:
        """Return the indexes of a table, and the name of the table itself."""
        found = self._table(table)
        return () if found is None else (*(index.name for index in found.indexes), "@table")

    def attributes(self, table: str) -> Iterable[str]:
        """Return the attributes of keys, and others that the catalog names."""
        found = self._table(table)
        return () if found is None else sorted(known_names(found))

    def _table(self, name: str) -> Table | None:
        if name not in self._tables and name in self.tables():
            found = self._look_up(self._client.table(name))
            if found is not None:
                self._tables[name] = found
        return self._tables.get(name)

    def _look_up(self, call: Coroutine[Any, Any, Any]) -> Any:
        async def bounded() -> Any:
            return await asyncio.wait_for(call, _LOOKUP_SECONDS)

        try:
            return self._run(bounded())
        except (QueryError, TimeoutError):  # Completion is a convenience.
            return None


@dataclass(frozen=True, slots=True)
class _Line:
    """A line up to the cursor: its whole words, and the start of the one to complete."""

    words: list[str]
    begun: str
    is_quoted: bool


def complete(line: str, text: str, names: Names) -> list[str]:
    """Return the completions of `text`, the end of `line` after the last delimiter."""
    quote = text[0] if text.startswith(("'", '"')) else ""
    found = (f"{quote}{one}" for one in _candidates(_parse(line), names))
    return [one for one in found if one.startswith(text) and one != text]


def _candidates(line: _Line, names: Names) -> list[str]:
    commands = _commands(command_parser())
    if not line.words:
        return sorted([*commands.keys() - {"shell", "completion"}, "exit"])
    command = commands.get(line.words[0])
    if command is None:
        return []
    table = line.words[1] if len(line.words) > 1 else ""
    before = line.words[-1]
    if line.begun.startswith("-") and not line.is_quoted:
        return sorted(option for option in command._option_string_actions if len(option) > 2)  # noqa: SLF001 - argparse has no public list
    match before:
        case "--index":
            return [*names.indexes(table)]
        case "--columns" | "--project" | "--key":
            return [*names.attributes(table)]
        case "-o" | "--output":
            return [*(ITEM_FORMS if line.words[0] in ("query", "stream", "get") else VALUE_FORMS)]
    if len(line.words) == 1 and not line.is_quoted:
        nested = _commands(command)
        return sorted(nested) if nested else [f"{name} " for name in names.tables()]
    if line.words[0] == "cache":
        return [f"{name} " for name in names.tables()] if len(line.words) == 2 else []
    return [*names.attributes(table), *_FUNCTIONS]


def _parse(line: str) -> _Line:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    try:
        while (word := lexer.get_token()) is not None:
            words.append(word)
    except ValueError:  # The cursor is inside quotes.
        return _Line(words, lexer.token, is_quoted=True)
    is_ended = not line or line[-1].isspace()
    begun = "" if is_ended or not words else words.pop()
    return _Line(words, begun, is_quoted=False)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            return dict(action.choices)
    return {}
