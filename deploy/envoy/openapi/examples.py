"""Examples of calls: a request of each operation, and its answer, against the demo's tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

_FILE: Final = Path(__file__).with_name("examples.yaml")


@dataclass(frozen=True, slots=True)
class Example:
    """A call and its answer.

    Attributes:
        name: Its key among the examples of its operation.
        method: The method's full name in the contract.
        summary: A line for readers.
        response: The JSON body, or the messages of a stream.
        path: The values of the path's parameters, by field path.
        body: The JSON body of the request, if it has one.
        status: The HTTP status of the answer.
        key: The kind of API key that it is sent with: `reader`, `admin`, or `none`.
    """

    name: str
    method: str
    summary: str
    response: Any
    path: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    status: int = 200
    key: str = "reader"

    @property
    def shown_request(self) -> dict[str, Any]:
        """The request as an Example Object of OpenAPI."""
        return {"summary": self.summary, "value": self.body}

    @property
    def shown_response(self) -> dict[str, Any]:
        """The answer as an Example Object of OpenAPI."""
        return {"summary": self.summary, "value": self.response}


def load_examples() -> list[Example]:
    """Return the examples in the order of the file."""
    return list(_examples(yaml.safe_load(_FILE.read_text(encoding="utf-8"))))


def _examples(content: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Example]:
    for method, entries in content.items():
        for entry in entries:
            yield Example(method=f"dynamodb_processor.v1.{method}", **entry)


def of_errors(examples: Sequence[Example]) -> dict[int, dict[str, Any]]:
    """Return the bodies of failed calls by HTTP status and name."""
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for example in examples:
        if example.status != 200:
            found[example.status][example.name] = example.shown_response
    return dict(found)
