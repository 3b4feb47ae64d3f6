"""The examples of the OpenAPI description are answered as they say."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from gateway.reference import OPENAPI_FILE
from openapi.examples import Example, load_examples
from tests.gateway.openapi.calling import call, closed, comparable, violations
from tests.gateway.openapi.conftest import Samples

_EXAMPLES: Final = load_examples()
_DOCUMENT: Final[dict[str, Any]] = json.loads(OPENAPI_FILE.read_text(encoding="utf-8"))
_STRICT: Final = closed(_DOCUMENT)
_OPERATIONS: Final = {
    operation["operationId"].lower(): operation
    for item in _DOCUMENT["paths"].values()
    for operation in item.values()
}


def _operation(example: Example) -> dict[str, Any]:
    return dict(_OPERATIONS[example.method.rpartition(".")[2].lower()])


@pytest.mark.parametrize("example", _EXAMPLES, ids=lambda example: str(example.name))
def test_an_example_is_answered_as_it_says(example: Example, samples: Samples) -> None:
    """Status and body are those of the example, and have the described form."""
    answer = call(samples.gateway, example)
    assert answer.status == example.status, answer.text
    streams = isinstance(example.response, list)
    messages = answer.lines if streams else [answer.json]
    assert comparable(messages) == comparable(example.response if streams else [example.response])

    response = _operation(example)["responses"][str(answer.status)]
    if "$ref" in response:
        response = _DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    schema = response["content"][answer.headers["content-type"]]["schema"]
    assert not [text for each in messages for text in violations(_STRICT, schema, each)]


def test_every_operation_has_an_example() -> None:
    """Each operation has an example that succeeds, and each of them is in the description."""
    for name, operation in _OPERATIONS.items():
        (content,) = operation["responses"]["200"]["content"].values()
        own = [each for each in _EXAMPLES if each.method.lower().endswith(f".{name}")]
        shown = [each.name for each in own if each.status == 200]
        assert shown, name
        assert list(content["examples"]) == shown
