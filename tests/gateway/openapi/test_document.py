"""The OpenAPI description says how messages look in JSON, and nothing else passes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.errors import REFUSALS
from gateway.rules import Rule, load_rules
from openapi import document as generator
from openapi.comments import comment, read_comments
from openapi.examples import Example, load_examples
from openapi.operations import JSON, JSON_LINES, bound_fields
from tests.gateway.openapi.calling import closed, violations

_DOCUMENT: Final[dict[str, Any]] = json.loads(generator.OPENAPI_FILE.read_text(encoding="utf-8"))
_STRICT: Final = closed(_DOCUMENT)
_RULES: Final = load_rules()
_BOUND: Final = bound_fields(_RULES)
_ERRORS: Final = [each for each in load_examples() if each.status != 200]


def _operation(name: str) -> dict[str, Any]:
    (found,) = (
        operation
        for item in _DOCUMENT["paths"].values()
        for operation in item.values()
        if operation["operationId"].lower() == name.lower()
    )
    assert isinstance(found, dict)
    return found


def _request_schema(rule: Rule) -> dict[str, Any]:
    body = _operation(rule.method.name)["requestBody"]
    return dict(body["content"][JSON]["schema"])


def _answer_schema(rule: Rule) -> dict[str, Any]:
    content = _operation(rule.method.name)["responses"]["200"]["content"]
    return dict(content[JSON_LINES if rule.method.server_streaming else JSON]["schema"])


def _complete(descriptor: Descriptor, depth: int = 0) -> Message:
    """Return a message with a value in each field; of a oneof, in the last one."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.full_name in _BOUND or (depth > 4 and field.message_type is not None):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            values = getattr(message, field.name)
            kind = field.message_type.fields_by_name["value"].message_type
            if kind is None:
                values["name"] = "text"
                continue
            values["name"].CopyFrom(_complete(kind, depth + 1))
        elif field.message_type is not None:
            value = _complete(field.message_type, depth + 1)
            target = getattr(message, field.name)
            if field.is_repeated:
                target.append(value)
            else:
                target.CopyFrom(value)
        elif field.is_repeated:
            getattr(message, field.name).append(_scalar(field))
        else:
            setattr(message, field.name, _scalar(field))
    return message


def _scalar(field: FieldDescriptor) -> Any:
    if field.full_name.startswith("google.protobuf."):
        return 5  # seconds or nanoseconds
    values: dict[int, Any] = {
        FieldDescriptor.CPPTYPE_DOUBLE: 0.5,
        FieldDescriptor.CPPTYPE_INT32: -(2**31),
        FieldDescriptor.CPPTYPE_INT64: 2**63 - 1,
        FieldDescriptor.CPPTYPE_BOOL: True,
        FieldDescriptor.CPPTYPE_ENUM: 1,
    }
    is_bytes = field.type == FieldDescriptor.TYPE_BYTES
    return b"\xfb\xff\x00" if is_bytes else values.get(field.cpp_type, "text")


def _in_json(descriptor: Descriptor) -> Any:
    return json_format.MessageToDict(_complete(descriptor))


def test_the_file_is_what_the_contract_makes() -> None:
    """The description in the repository is the one that the generator writes."""
    assert generator.text() == generator.OPENAPI_FILE.read_text(encoding="utf-8")


def test_it_is_openapi() -> None:
    """The validator of the OpenAPI 3.1 specification has no complaint."""
    OpenAPIV31SpecValidator(_DOCUMENT).validate()


def test_the_validator_finds_an_error() -> None:
    """A description with an operation that has no responses is refused."""
    broken = json.loads(json.dumps(_DOCUMENT))
    del broken["paths"]["/v1/tables"]["get"]["responses"]["200"]["description"]
    assert list(OpenAPIV31SpecValidator(broken).iter_errors())


@pytest.mark.parametrize("rule", _RULES, ids=lambda rule: str(rule.method.name))
def test_a_full_answer_satisfies_its_schema(rule: Rule) -> None:
    """An answer with a value in each field, in proto3 JSON, has the described form."""
    assert not list(violations(_STRICT, _answer_schema(rule), _in_json(rule.method.output_type)))


@pytest.mark.parametrize(
    "rule", [rule for rule in _RULES if rule.has_body], ids=lambda rule: str(rule.method.name)
)
def test_a_full_request_satisfies_its_schema(rule: Rule) -> None:
    """A request with a value in each field that its path does not bind has the described form."""
    assert not list(violations(_DOCUMENT, _request_schema(rule), _in_json(rule.method.input_type)))


def _query(**fields: Any) -> dict[str, Any]:
    return {"query": {"expression": "a = :a", "parameters": {"a": {"s": "x"}}} | fields}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({**_query(), "pagesize": 3}, "$"),
        (_query(max_itms="1"), "$.query"),
        (_query(table="bound by the path"), "$.query"),
        (_query(maxItems="1.5"), "$.query.maxItems"),
        (_query(maxItems=2**53), "$.query.maxItems"),
        (_query(order="DOWN"), "$.query.order"),
        (_query(parameters={"a": {}}), "$.query.parameters.a"),
        (_query(parameters={"a": {"s": "x", "n": "1"}}), "$.query.parameters.a"),
        (_query(parameters={"a": {"n": 1}}), "$.query.parameters.a.n"),
        (_query(parameters={"a": {"b": "a*b"}}), "$.query.parameters.a.b"),
        ({**_query(), "budget": {"maxDuration": "PT1S"}}, "$.budget.maxDuration"),
    ],
)
def test_a_wrong_request_does_not(body: dict[str, Any], path: str) -> None:
    """A misspelt field, or a value in another form, is a violation at its place."""
    (rule,) = (rule for rule in _RULES if rule.method.name == "Query")
    found = [each.partition(":")[0] for each in violations(_DOCUMENT, _request_schema(rule), body)]
    assert found == [path]


def test_one_of_two_scopes_is_required() -> None:
    """Of the fields of a required oneof, exactly one is accepted."""
    (rule,) = (rule for rule in _RULES if rule.method.name == "InvalidateCache")
    schema = _request_schema(rule)
    key = {"attributes": {"a": {"s": "x"}}}
    assert not list(violations(_DOCUMENT, schema, {"wholeTable": {}}))
    assert not list(violations(_DOCUMENT, schema, {"partitionKey": key}))
    assert list(violations(_DOCUMENT, schema, {}))
    assert list(violations(_DOCUMENT, schema, {"wholeTable": {}, "partitionKey": key}))


def test_every_refusal_of_the_gateway_is_described() -> None:
    """The reason of each refusal is in the description of its HTTP status."""
    described = {
        int(status): reference["$ref"].rpartition("/")[2]
        for status, reference in _operation("query")["responses"].items()
        if "$ref" in reference
    }
    for refusal in REFUSALS.values():
        if refusal.http in described:
            text = _DOCUMENT["components"]["responses"][described[refusal.http]]["description"]
            assert f"`{refusal.reason}`" in text
        else:
            # No client that follows the description gets them.
            assert refusal.http == 405


@pytest.mark.parametrize("example", _ERRORS, ids=lambda example: str(example.name))
def test_an_error_is_a_status(example: Example) -> None:
    """Each example of an error has the form of a `google.rpc.Status` with known details."""
    schema = {"$ref": "#/components/schemas/Status"}
    assert not list(violations(_STRICT, schema, example.response))


def test_an_unknown_detail_is_not_a_status() -> None:
    """A detail that no error has is a violation."""
    schema = {"$ref": "#/components/schemas/Status"}
    detail = {"@type": "type.googleapis.com/google.rpc.DebugInfo", "detail": "a stack trace"}
    assert list(violations(_STRICT, schema, {"code": 13, "message": "x", "details": [detail]}))


def test_names_in_comments_are_those_of_json() -> None:
    """Descriptions name fields as JSON does: no field's name has an underscore."""
    fields = {field.name for rule in _RULES for field in _fields(rule.method.input_type)}
    fields |= {field.name for rule in _RULES for field in _fields(rule.method.output_type)}
    text = json.dumps(_DOCUMENT["components"]["schemas"]) + json.dumps(_DOCUMENT["tags"])
    assert not [name for name in fields if "_" in name and f"`{name}`" in text]


def _fields(message: Descriptor, seen: frozenset[str] = frozenset()) -> Iterator[FieldDescriptor]:
    for field in message.fields:
        yield field
        if field.message_type is not None and field.message_type.full_name not in seen:
            yield from _fields(field.message_type, seen | {message.full_name})


def test_a_declaration_without_a_comment_is_refused() -> None:
    """Everything in the description has been described in the contract."""
    with pytest.raises(SystemExit, match=r"no comment for dynamodb_processor\.v1\.Nothing"):
        comment(read_comments(), "dynamodb_processor.v1.Nothing")


def test_the_check_fails_when_the_file_is_another(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--check` ends with 1 and names the remedy; after a write it ends with 0."""
    monkeypatch.setattr(generator, "OPENAPI_FILE", tmp_path / "openapi.json")
    assert generator.main(["--check"]) == 1
    assert "run make openapi" in capsys.readouterr().err
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0
