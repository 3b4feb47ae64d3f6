"""Extensions of Schemathesis for streams of JSON lines; its command loads them."""

from __future__ import annotations

import json
from typing import Any, Final

import schemathesis

_JSON_LINES: Final = "application/x-ndjson"


@schemathesis.deserializer(_JSON_LINES)
def json_lines(_context: Any, response: Any) -> list[Any]:
    """Return the objects of a stream, which the description for tests has as an array."""
    return _messages(response)


@schemathesis.check
def complete_stream(_context: Any, response: Any, _case: Any) -> None:
    """A stream ends with `last`, and no other message has it."""
    if response.headers.get("content-type") == [_JSON_LINES]:
        ends = [message["last"] for message in _messages(response)]
        assert ends == [False] * (len(ends) - 1) + [True], f"`last` is {ends}"


def _messages(response: Any) -> list[Any]:
    return [json.loads(line) for line in response.content.splitlines()]
