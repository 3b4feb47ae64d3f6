"""The state of an export beside its file: what has been written, and where to go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Final, Literal, get_args

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor_client.destinations import Form
from dynamodb_processor_client.query import Query

_VERSION: Final = 1
_OPTIONS: Final = {
    "table": "the table",
    "expression": "the expression",
    "parameters": "-p",
    "index": "--index",
    "order": "--descending",
    "projection": "--project or --columns",
    "consistency": "--strong",
    "max_items": "--max-items",
}
Phase = Literal["reading", "read"]


class StateError(Exception):
    """The state cannot be used; the text is the reason."""


@dataclass(frozen=True, slots=True)
class ExportState:
    """What an unfinished export has written for good.

    Attributes:
        form: The form of the file.
        columns: The columns that were given; None for all.
        query: A digest of each field of the query, by its name in the contract.
        phase: `reading`, or `read` after the last item.
        resume_token: The token that continues after the items so far.
        items: The number of items so far.
        size: The bytes of the unfinished file that belong to the export.
        digest: Their SHA-256.
        version: The version of this format.
    """

    form: Form
    columns: list[str] | None
    query: dict[str, str]
    phase: Phase
    resume_token: str
    items: int
    size: int
    digest: str
    version: int = _VERSION

    def different_options(
        self, form: Form, columns: list[str] | None, query: Mapping[str, str]
    ) -> list[str]:
        """Return the options in which a command differs from the one that began the export."""
        fields_of_query = sorted(self.query.keys() | query.keys())
        changed = [name for name in fields_of_query if self.query.get(name) != query.get(name)]
        different = [_OPTIONS.get(name, name) for name in changed]
        if self.form != form:
            different.append(f"the form ({self.form}, not {form})")
        if self.columns != columns:
            different.append("--columns")
        return different

    def to_bytes(self) -> bytes:
        """Return the state as JSON."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> ExportState:
        """Return the state in a file.

        Raises:
            StateError: The content is no state, or one of another version.
        """
        try:
            document = json.loads(content)
        except ValueError:
            raise StateError("it is no JSON") from None
        if not isinstance(document, dict):
            raise StateError("it is no JSON object")
        if document.get("version") != _VERSION:
            raise StateError(f"it has the version {document.get('version')!r}, not {_VERSION}")
        _check(document)
        return cls(**document)


def query_digests(query: Query) -> dict[str, str]:
    """Return a digest of each field of a query, so that a difference can be named."""
    message = query.to_message()
    digests = {}
    for name in query_pb2.QuerySpec.DESCRIPTOR.fields_by_name:
        alone = query_pb2.QuerySpec()
        alone.CopyFrom(message)
        for other in query_pb2.QuerySpec.DESCRIPTOR.fields_by_name:
            if other != name:
                alone.ClearField(other)  # type: ignore[arg-type]  # a name of the contract
        digests[name] = hashlib.sha256(alone.SerializeToString(deterministic=True)).hexdigest()
    return digests


def _check(document: Mapping[str, object]) -> None:
    """Raise StateError for fields that are missing, unknown or of a wrong type."""
    names = {field.name for field in fields(ExportState)}
    if document.keys() != names:
        wrong = ", ".join(sorted(map(str, document.keys() ^ names)))
        raise StateError(f"these fields are missing or unknown: {wrong}")
    columns, query = document["columns"], document["query"]
    is_valid = {
        "form": document["form"] in get_args(Form),
        "columns": columns is None or _are_texts(columns),
        "query": isinstance(query, dict) and _are_texts(list(query.values())),
        "phase": document["phase"] in get_args(Phase),
        "resume_token": isinstance(document["resume_token"], str),
        "items": _is_count(document["items"]),
        "size": _is_count(document["size"]),
        "digest": isinstance(document["digest"], str),
    }
    wrong = ", ".join(name for name, valid in is_valid.items() if not valid)
    if wrong:
        raise StateError(f"these fields are not valid: {wrong}")


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
