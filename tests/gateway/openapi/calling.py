"""Makes the calls of OpenAPI's examples, and compares answers with the description."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from jsonschema import Draft202012Validator

from gateway.rules import load_rules
from openapi.examples import Example
from tests.gateway.openapi.conftest import KEYS
from tests.support.gateway import Answer, Gateway

#: Fields whose values differ from run to run. Of a token only its presence is compared.
_TOKENS: Final = ("freshnessToken", "nextPageToken", "resumeToken")
_CHANGING: Final = frozenset(
    ("age", "backendCalls", "backendTime", "bytes", "entries", "evictions", "expiresIn", "hits",
     "itemEntries", "itemHits", "itemMisses", "itemRefreshes", "itemsScanned", "maxBytes",
     "misses", "readTime", "readUnits", "status")
)  # fmt: skip
_RULES: Final = {rule.method.full_name: rule for rule in load_rules()}


def call(gateway: Gateway, example: Example) -> Answer:
    """Make the call of an example."""
    rule = _RULES[example.method]
    path = rule.path
    for name, value in example.path.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    headers = {"x-api-key": KEYS[example.key].text} if example.key in KEYS else {}
    return gateway.request(rule.verb.upper(), path, example.body, headers)


def comparable(answer: Any) -> Any:
    """Return an answer without the values that differ from run to run."""
    if isinstance(answer, list):
        # The statistics of tables that other tests have read.
        return [comparable(each) for each in answer if not _is_statistics(each)]
    if not isinstance(answer, Mapping):
        return answer
    return {
        name: bool(value) if name in _TOKENS else comparable(value)
        for name, value in answer.items()
        if name not in _CHANGING
    }


def _is_statistics(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"table", "stats"}


def closed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description whose messages have no field that it does not name.

    Responses may get new fields, so the published description is open. Tests want to see them.
    """
    strict = copy.deepcopy(dict(document))
    for schema in strict["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return strict


def violations(document: Mapping[str, Any], schema: Mapping[str, Any], value: Any) -> Iterator[str]:
    """Yield each difference between a value and its schema in a description."""
    whole = {**schema, "components": document["components"]}
    for error in Draft202012Validator(whole).iter_errors(value):
        yield f"{error.json_path}: {error.message}"
