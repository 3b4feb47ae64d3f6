"""The routes of `http_rules.yaml`, checked against the contract."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, MethodDescriptor

from dynamodb_processor.v1 import cache_service_pb2, catalog_service_pb2, query_service_pb2

RULES_FILE: Final = Path(__file__).parent.parent / "http_rules.yaml"
#: The files of the contract that have services.
SERVICE_FILES: Final[tuple[FileDescriptor, ...]] = tuple(
    module.DESCRIPTOR for module in (query_service_pb2, catalog_service_pb2, cache_service_pb2)
)
_VARIABLE: Final = re.compile(r"\{([a-z_.]+)\}")
_PATH: Final = re.compile(r"(?:/(?:[a-z0-9]+|\{[a-z_.]+\}))+(?::[a-zA-Z]+)?")
_VERBS: Final = ("get", "post")


class RuleError(Exception):
    """A rule does not fit the contract, or is in a form that the gateway does not have."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The route of one method: `get` or `post`, and a path template such as `/v1/tables/{table}`.

    With `has_body` all fields that the path does not bind come from the body. Without it they are
    query parameters.
    """

    method: MethodDescriptor
    verb: str
    path: str
    has_body: bool

    @property
    def name(self) -> str:
        """The service and the method, such as `QueryService.Query`."""
        return f"{self.method.containing_service.name}.{self.method.name}"

    @property
    def path_parts(self) -> list[str]:
        """The path template in parts: fixed text and field paths in turn."""
        return _VARIABLE.split(self.path)

    @property
    def bindings(self) -> list[str]:
        """The field paths in the path template, in proto names."""
        return self.path_parts[1::2]

    @property
    def regex(self) -> str:
        """A regular expression of RE2 that matches the whole path.

        A colon of a value must be percent-encoded, since the colon separates the verb.
        """
        parts = enumerate(self.path_parts)
        return "".join("[^/:]+" if at % 2 else re.escape(part) for at, part in parts)

    @property
    def http_rule(self) -> HttpRule:
        """The rule as an annotation of its method."""
        rule = HttpRule(**{self.verb: self.path})
        if self.has_body:
            rule.body = "*"
        return rule


def methods() -> Iterator[MethodDescriptor]:
    """Yield every method of the contract."""
    for file in SERVICE_FILES:
        for service in file.services_by_name.values():
            yield from service.methods


def load_rules(file: Path = RULES_FILE) -> list[Rule]:
    """Return the rules of a file, in its order.

    Raises:
        RuleError: a rule does not fit the contract, or a method of the contract has no rule.
    """
    known = {method.full_name: method for method in methods()}
    rules = [
        _rule(entry, known)
        for entry in yaml.safe_load(file.read_text(encoding="utf-8"))["http"]["rules"]
    ]
    ruled = [rule.method.full_name for rule in rules]
    for name in known:
        if ruled.count(name) != 1:
            raise RuleError(f"{name}: has {ruled.count(name)} rules, needs one")
    paths = [(rule.verb, _VARIABLE.sub("{}", rule.path)) for rule in rules]
    if len(set(paths)) < len(paths):
        raise RuleError("two methods have the same route")
    return rules


def _rule(entry: Mapping[str, Any], known: Mapping[str, MethodDescriptor]) -> Rule:
    selector = entry.get("selector")
    method = known.get(str(selector))
    if method is None:
        raise RuleError(f"{selector}: is not a method of the contract")
    verbs = [verb for verb in _VERBS if verb in entry]
    if len(verbs) != 1 or set(entry) - {"selector", "body", *_VERBS}:
        raise RuleError(f"{selector}: needs `get` or `post`, may have `body`, and nothing else")
    if entry.get("body") not in {None, "*"}:
        raise RuleError(f'{selector}: `body` is "*" or absent')
    rule = Rule(method, verbs[0], str(entry[verbs[0]]), "body" in entry)
    if rule.has_body != (rule.verb == "post"):
        raise RuleError(f"{selector}: POST needs a body, and GET has none")
    if not _PATH.fullmatch(rule.path):
        raise RuleError(f"{selector}: {rule.path} is not a path that the gateway can match")
    for path in rule.bindings:
        if field_at(method.input_type, path).type != FieldDescriptor.TYPE_STRING:
            raise RuleError(f"{selector}: {path} is not text")
    return rule


def field_at(message: Descriptor, path: str) -> FieldDescriptor:
    """Return the field at a path such as `query.table`.

    Raises:
        RuleError: there is none.
    """
    name, _, rest = path.partition(".")
    field = message.fields_by_name.get(name)
    if field is None:
        raise RuleError(f"{message.full_name} has no field {name}")
    if not rest:
        return field
    if field.message_type is None or field.is_repeated:
        raise RuleError(f"{message.full_name}.{name} is not a single message")
    return field_at(field.message_type, rest)
