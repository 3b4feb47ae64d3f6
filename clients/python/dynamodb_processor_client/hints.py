"""Hints of `ddbq` after errors, and after results that may not be the intended ones."""

from __future__ import annotations

import argparse
import asyncio
import difflib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from dynamodb_processor_client.client import QueryClient
from dynamodb_processor_client.comparisons import Comparison, comparisons, first_name, names
from dynamodb_processor_client.connection_arguments import DEFAULT_TARGET
from dynamodb_processor_client.connection_errors import (
    CAUSES,
    CLOSED,
    NO_TLS,
    UNTRUSTED,
    WRONG_NAME,
)
from dynamodb_processor_client.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    QueryError,
    Unauthenticated,
    Unavailable,
)
from dynamodb_processor_client.output import note
from dynamodb_processor_client.tables import known_names
from dynamodb_processor_client.values import Item, Value, number

_LOOKUP_SECONDS: Final = 3.0  # for the look-up of names
_MAX_SUGGESTIONS: Final = 3


class Hints:
    """The hints on one command; each is printed once."""

    def __init__(self, client: QueryClient, arguments: argparse.Namespace) -> None:
        """Prepare hints on the command in `arguments`; `client` looks up names."""
        self._client = client
        self._table: str = arguments.table if "table" in arguments else ""
        expression = arguments.expression if "expression" in arguments else ""
        self._parameters: Mapping[str, Value] = (
            arguments.parameters if "parameters" in arguments else {}
        )
        projection = arguments.project if "project" in arguments else []
        self._comparisons = list(comparisons(expression))
        self._named = [*names(expression), *map(first_name, projection)]
        self._projected = list(projection)
        self._index: str | None = arguments.index if "index" in arguments else None
        self._arguments = arguments
        self._shown: set[str] = set()

    def check_types(self, items: Iterable[Item]) -> None:
        """Warn of attributes that are compared with another type than these items have."""
        shown = list(items)
        for comparison in self._comparisons:
            if comparison.operand.kind == "path":
                continue
            held = {
                _kind(value) for item in shown if (value := _value_at(item, comparison)) is not None
            }
            value = comparison.operand.value(self._parameters)
            if held and value is not None and _kind(value) not in held:
                self._show(
                    f"warning: {comparison.path} is {' or '.join(sorted(held))} in these items and "
                    f"is compared with {_kind(value)}{self._remedy(comparison, value, held)}"
                )

    def on_missing_attributes(self, items: Sequence[Item]) -> None:
        """Name the projected attributes that none of these items has."""
        for path in self._projected:
            if items and not any(first_name(path) in item for item in items):
                self._show(f"hint: none of these items has {path}")

    async def on_empty_result(self) -> None:
        """Suggest reasons for an empty result."""
        for comparison in self._comparisons:
            value = comparison.operand.value(self._parameters)
            if isinstance(value, str) and _is_number(value):
                remedy = self._remedy(comparison, value, {_NUMBER})
                self._show(
                    f"hint: {comparison.path} was compared with the text {value!r}, which is like "
                    f"no number{remedy}"
                )
        if sys.stderr.isatty():
            await self._on_names()

    async def on_error(self, error: QueryError) -> None:
        """Suggest names like those that the service refused, or a way to reach the service."""
        if isinstance(error, NotFound | PermissionDenied) and self._table:
            tables = await _or_none(self._client.tables())
            known = [table.name for table in tables or ()]
            if self._table not in known:
                self._suggest("table", self._table, known)
        elif isinstance(error, InvalidArgument | FailedPrecondition):
            await self._on_index(error)
            await self._on_names(error.message)
        elif isinstance(error, Unauthenticated) and not self._arguments.has_credential:
            self._show(
                "hint: set DDBQ_API_KEY or DDBQ_BEARER_TOKEN, or give --api-key or "
                "--bearer-token-file"
            )
        elif isinstance(error, Unavailable) and error.request_id is None:
            self._on_connection(error)

    def _on_connection(self, error: Unavailable) -> None:
        target = self._arguments.target
        cause = error.message.partition(": ")[0]
        if self._arguments.tls and (hint := self._on_tls(cause, error.message)):
            self._show(f"hint: {hint}")
        elif "Failed parsing HTTP/2" in error.message:
            self._show(f"hint: {target} is no gRPC server, or wants --tls")
        elif cause == CLOSED and not self._arguments.tls:
            self._show(f"hint: {target} may speak TLS: try --tls")
        elif re.fullmatch(r"[^:/\[\]]+", target):
            port = DEFAULT_TARGET.rpartition(":")[2]
            self._show(f"hint: {target} names no port; servers listen on {port} by default")
        else:
            self._show(
                f"hint: is the server at {target} running? --target and $DDBQ_TARGET name another"
            )

    def _on_tls(self, cause: str, message: str) -> str | None:
        """Return a hint on a connection with TLS that failed."""
        target = self._arguments.target
        if cause == WRONG_NAME:
            return f"does the certificate name {target}? --server-name gives its name"
        if cause == UNTRUSTED:
            return "--cacert names a file with the authority that signed the server's certificate"
        if cause == CLOSED and self._arguments.cert:
            return f"does {target} accept the certificate of --cert, and has it not expired?"
        if cause == CLOSED:
            return f"{target} may require a client certificate: --cert names one"
        if cause == NO_TLS or (cause not in CAUSES and "handshake failed" in message):
            return f"{target} may speak no TLS: try without --tls"
        return None

    async def _on_index(self, error: QueryError) -> None:
        """List the indexes if the table does not have the one that was named."""
        if self._index and any(one.subject == "query.index" for one in error.violations):
            table = await _or_none(self._client.table(self._table))
            known = [index.name for index in table.indexes] if table is not None else []
            if table is not None and self._index not in known:
                listed = ", ".join([*known, "@table"])
                self._show(f"hint: {self._table} can be read by {listed}")

    async def _on_names(self, message: str = "") -> None:
        """Suggest names for unknown attributes, unless `message` already suggests them."""
        if not self._named:
            return
        table = await _or_none(self._client.table(self._table))
        known = known_names(table) if table is not None else frozenset()
        bare = {
            first_name(one.operand.written): one.operand.written
            for one in self._comparisons
            if one.operand.kind == "path"
        }
        for name in self._named:
            if name in known:
                continue
            if name in bare:
                quoted = "'" + name.replace("'", "''") + "'"
                if f"write {quoted}" not in message:
                    self._show(
                        f"hint: {bare[name]} is read as the name of an attribute; text is quoted: "
                        f"{quoted}"
                    )
            else:
                self._suggest("attribute", name, known)

    def _suggest(self, kind: str, name: str, known: Iterable[str]) -> None:
        alike = difflib.get_close_matches(name, sorted(known), _MAX_SUGGESTIONS, 0.7)
        if alike:
            self._show(f"hint: is the {kind} {name} spelt {' or '.join(alike)}?")

    def _remedy(self, comparison: Comparison, value: object, held: set[str]) -> str:
        name, literal = comparison.operand.written[1:], comparison.operand.kind != "parameter"
        if isinstance(value, str) and _NUMBER in held and _is_number(value):
            return f"; write {value} without quotes" if literal else f": use -p {name}:={value}"
        if isinstance(value, int | Decimal) and held == {_TEXT} and not isinstance(value, bool):
            written = comparison.operand.written if literal else str(value)
            return f"; write '{written}'" if literal else f": use -p {name}={written}"
        return ""

    def _show(self, hint: str) -> None:
        if hint not in self._shown:
            self._shown.add(hint)
            note(hint)


_TEXT: Final = "text"
_NUMBER: Final = "a number"


def _kind(value: object) -> str:
    match value:
        case str():
            return _TEXT
        case bool():
            return "true or false"
        case int() | Decimal():
            return _NUMBER
        case bytes():
            return "binary"
        case Mapping():
            return "a map"
        case set():
            return "a set"
        case Sequence():
            return "a list"
    return "null"


def _value_at(item: Item, comparison: Comparison) -> object | None:
    """Return the value at the path; `None` if there is none, or a null, which fits any type."""
    found: Any = item
    for step in comparison.steps():
        if isinstance(found, Mapping):
            found = found.get(step)
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
    value: object | None = found
    return value


def _is_number(text: str) -> bool:
    try:
        number(text)
    except ValueError:
        return False
    return True


async def _or_none(call: Any) -> Any:
    """Return the result of a call; `None` if it fails or takes long, as hints are optional."""
    try:
        return await asyncio.wait_for(call, _LOOKUP_SECONDS)
    except (QueryError, TimeoutError):
        return None
