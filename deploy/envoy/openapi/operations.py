"""Path items of OpenAPI: one operation for each rule of `http_rules.yaml`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from gateway.rules import Rule, field_at
from openapi.comments import comment
from openapi.errors import response_name
from openapi.examples import Example
from openapi.schemas import Schemas

JSON: Final = "application/json"
#: JSON objects, each on a line of its own: https://github.com/ndjson/ndjson-spec
JSON_LINES: Final = "application/x-ndjson"
_VARIABLE: Final = re.compile(r"\{([a-z_.]+)\}")
# Errors of requests with a body only.
_OF_BODIES: Final = (408, 413, 415)
# No client that follows this document gets them.
_NOT_LISTED: Final = (405,)


def paths(
    rules: Sequence[Rule],
    schemas: Schemas,
    comments: Mapping[str, str],
    examples: Sequence[Example],
    errors: Sequence[int],
) -> dict[str, Any]:
    """Return the path items of the rules, by path.

    Args:
        rules: The routes of the methods.
        schemas: The schemas, to which those of requests and responses are added.
        comments: The comments of the contract.
        examples: The examples of all operations.
        errors: The HTTP statuses of errors.
    """
    found: dict[str, Any] = {}
    for rule in rules:
        own = [each for each in examples if each.method == rule.method.full_name]
        path = _VARIABLE.sub(lambda match: f"{{{_last(match[1])}}}", rule.path)
        operation = _operation(rule, schemas, comments, own)
        for status in errors:
            if status not in _NOT_LISTED and (rule.has_body or status not in _OF_BODIES):
                reference = f"#/components/responses/{response_name(status)}"
                operation["responses"][str(status)] = {"$ref": reference}
        found.setdefault(path, {})[rule.verb] = operation
    return found


def bound_fields(rules: Sequence[Rule]) -> set[str]:
    """Return the full names of the fields that paths bind."""
    return {
        field_at(rule.method.input_type, path).full_name for rule in rules for path in rule.bindings
    }


def _operation(
    rule: Rule, schemas: Schemas, comments: Mapping[str, str], examples: Sequence[Example]
) -> dict[str, Any]:
    method = rule.method
    text = comment(comments, method.full_name)
    operation: dict[str, Any] = {
        "operationId": method.name[0].lower() + method.name[1:],
        "tags": [method.containing_service.name],
        "summary": re.split(r"(?<=\w)[.,:](?:\s|$)", text, maxsplit=1)[0],
        "description": text,
    }
    if parameters := _parameters(rule, schemas, examples):
        operation["parameters"] = parameters
    if rule.has_body:
        content: dict[str, Any] = {"schema": schemas.reference(method.input_type)}
        if examples:
            content["examples"] = {each.name: each.shown_request for each in examples}
        operation["requestBody"] = {"required": True, "content": {JSON: content}}
    operation["responses"] = {"200": _success(rule, schemas, comments, examples)}
    return operation


def _parameters(rule: Rule, schemas: Schemas, examples: Sequence[Example]) -> list[dict[str, Any]]:
    found = [_path_parameter(rule, path, schemas, examples) for path in rule.bindings]
    if not rule.has_body:
        message = rule.method.input_type
        found += [
            _parameter(one, "query", schemas, required=False)
            for one in message.fields
            if one.name not in rule.bindings
        ]
    return found


def _path_parameter(
    rule: Rule, path: str, schemas: Schemas, examples: Sequence[Example]
) -> dict[str, Any]:
    one = field_at(rule.method.input_type, path)
    parameter = _parameter(one, "path", schemas, required=True)
    parameter["schema"] = {"type": "string", "minLength": 1}
    values = {each.name: {"value": each.path[path]} for each in examples if path in each.path}
    return {**parameter, "examples": values} if values else parameter


def _parameter(
    one: FieldDescriptor, location: str, schemas: Schemas, *, required: bool
) -> dict[str, Any]:
    schema = schemas.property(one)
    description = schema.pop("description")
    name = one.name if location == "path" else one.json_name
    found = {"name": name, "in": location, "description": description, "schema": schema}
    return {**found, "required": True} if required else found


def _success(
    rule: Rule, schemas: Schemas, comments: Mapping[str, str], examples: Sequence[Example]
) -> dict[str, Any]:
    answer = rule.method.output_type
    text = comment(comments, answer.full_name)
    shown = {each.name: each.shown_response for each in examples if each.status == 200}
    content: dict[str, Any] = {"schema": schemas.reference(answer)}
    if rule.method.server_streaming:
        text += (
            "\n\nEach line is such an object. The answer is complete only if the last line has "
            "`last`: a stream that breaks off has the HTTP status 200 all the same."
        )
        shown = {name: {**one, "value": _lines(one["value"])} for name, one in shown.items()}
    if shown:
        content["examples"] = shown
    media_type = JSON_LINES if rule.method.server_streaming else JSON
    return {"description": text, "content": {media_type: content}}


def _lines(messages: Sequence[Any]) -> str:
    return "".join(f"{json.dumps(each)}\n" for each in messages)


def _last(path: str) -> str:
    return path.rpartition(".")[2]
