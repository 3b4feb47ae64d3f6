"""Parses a YAML file into plain values and remembers the line of each value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dynamodb_processor_server.config_files.errors import ConfigFileError, ConfigIssue
from dynamodb_processor_server.config_files.validation_messages import reason_of

Location = tuple[str | int, ...]

_MAX_DEPTH: Final = 16
# Aliases let a small file expand to a very large one; this bounds the values to validate.
_MAX_VALUES: Final = 200_000
# Every character that YAML 1.1 (section 4.1.1) does not call printable.
_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
_TAG: Final = "tag:yaml.org,2002:"
_KEY_TAGS: Final = frozenset({f"{_TAG}str", f"{_TAG}merge"})
# libyaml is some twenty times faster than the loader in Python, and optional in PyYAML.
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlDocument:
    """The values of a YAML file, and the line of each value for error messages.

    Unlike PyYAML's own constructor, it refuses repeated keys and keys that are not text. It reports
    all such errors together. Aliases and merge keys work as in YAML 1.1.
    """

    def __init__(self, file: str, content: bytes) -> None:
        """Parse the content.

        Raises:
            ConfigFileError: It is not UTF-8, not YAML, empty, not a mapping, or malformed.
        """
        self._file = file
        self._issues: list[ConfigIssue] = []
        self._built: dict[int, tuple[Any, int]] = {}
        text = self._decoded(content)
        try:
            self._root = self._composed(text)
            self._loader = _Loader("")
            self.value, values = self._value_of(self._root, ())
        except yaml.YAMLError as error:
            raise self._syntax_error(error, text) from None
        if values > _MAX_VALUES:
            self._add(None, (), f"stands for more than {_MAX_VALUES} values, aliases included")
        if self._issues:
            raise ConfigFileError(tuple(self._issues))

    def issues_of(self, error: ValidationError, model: Any) -> tuple[ConfigIssue, ...]:
        """Return the errors of a model's validation in the order of their lines."""
        details = error.errors(include_url=False, include_input=False)
        # A default that depends on an invalid field is not an error of its own.
        reported = [one for one in details if one["type"] != "default_factory_not_called"]
        found = [self._issue_of(one, model) for one in reported]
        return tuple(sorted(found, key=lambda issue: issue.line))

    def _issue_of(self, details: ErrorDetails, model: Any) -> ConfigIssue:
        path = (*details["loc"], *details.get("ctx", {}).get("path", ()))
        # Pydantic marks an error in a mapping's key this way.
        location = path[:-1] if path and path[-1] == "[key]" else path
        reason = reason_of(details, model)
        return ConfigIssue(self._file, self._line_of(location), _path(location), reason)

    def _line_of(self, location: Location) -> int:
        """Return the line of a value; if the file lacks it, the line of the nearest parent."""
        node, line = self._root, _line(self._root)
        for step in location:
            below = _child(node, step)
            if below is None:
                break
            line, node = below
        return line

    def _decoded(self, content: bytes) -> str:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise ConfigFileError(
                (ConfigIssue(self._file, line, "", "is not UTF-8 text"),)
            ) from None
        if found := _UNPRINTABLE.search(text):
            line = text.count("\n", 0, found.start()) + 1
            reason = f"holds the character U+{ord(found[0]):04X}, which YAML does not allow"
            raise ConfigFileError((ConfigIssue(self._file, line, "", reason),))
        return text

    def _composed(self, text: str) -> yaml.Node:
        self._check_depth(text)
        root = yaml.compose(text, Loader=_Loader)
        if root is None or _is_null(root):
            raise ConfigFileError((ConfigIssue(self._file, 0, "", "is empty"),))
        if not isinstance(root, yaml.MappingNode):
            reason = "must be a mapping of fields to values"
            raise ConfigFileError((ConfigIssue(self._file, _line(root), "", reason),))
        return root

    def _check_depth(self, text: str) -> None:
        # This runs before composing, which recurses once for each level.
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > _MAX_DEPTH:
                reason = f"is nested more than {_MAX_DEPTH} levels deep"
                raise ConfigFileError((ConfigIssue(self._file, _line(event), "", reason),))

    def _syntax_error(self, error: yaml.YAMLError, text: str) -> ConfigFileError:
        mark = getattr(error, "problem_mark", None)
        if mark is None:
            return ConfigFileError((ConfigIssue(self._file, 0, "", "is not YAML"),))
        line = text.splitlines()[mark.line : mark.line + 1]
        if line and "\t" in line[0][: len(line[0]) - len(line[0].lstrip())]:
            reason = "a tab in the indentation, which YAML makes of spaces only"
        else:
            reason = f"is not YAML: {getattr(error, 'problem', '')}"
        return ConfigFileError((ConfigIssue(self._file, mark.line + 1, "", reason),))

    def _value_of(self, node: yaml.Node, at: Location) -> tuple[Any, int]:
        """Return a node's value, and how many values it holds with itself and aliases counted."""
        known = self._built.get(id(node))
        if known is None:
            # An alias of the node inside itself finds this entry and exceeds the bound.
            self._built[id(node)] = (None, _MAX_VALUES + 1)
            known = self._built[id(node)] = self._build(node, at)
        return known

    def _build(self, node: yaml.Node, at: Location) -> tuple[Any, int]:
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping_of(node, at)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            parts = [self._value_of(child, (*at, i)) for i, child in enumerate(node.value)]
            return [value for value, _ in parts], 1 + sum(count for _, count in parts)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar_of(node, at), 1
        self._add(node, at, "has a tag that is not supported")
        return None, 1

    def _mapping_of(self, node: yaml.MappingNode, at: Location) -> tuple[Any, int]:
        node.value = list(self._valid_members(node, at))
        self._loader.flatten_mapping(node)
        # Merged members come first, so that the mapping's own members replace them.
        members = {key.value: (key, child) for key, child in node.value}
        node.value = list(members.values())
        values: dict[str, Any] = {}
        total = 1
        for key, child in node.value:
            values[key.value], count = self._value_of(child, (*at, key.value))
            total += count
        return values, total

    def _valid_members(
        self, node: yaml.MappingNode, at: Location
    ) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        first: dict[str, int] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in _KEY_TAGS:
                self._add(key, at, "a name here is not text; put it in quotes")
            elif key.value in first:
                reason = f"is given twice, first on line {first[key.value]}"
                self._add(key, (*at, key.value), reason)
            else:
                first[key.value] = _line(key)
                yield key, child

    def _scalar_of(self, node: yaml.ScalarNode, at: Location) -> Any:
        try:
            return self._loader.construct_object(node)
        except yaml.constructor.ConstructorError:
            self._add(node, at, "has a tag that is not supported")
        except (ArithmeticError, AttributeError, LookupError, ValueError):
            # Such as the timestamp 2026-13-01, or `!!bool maybe`.
            kind = node.tag.removeprefix(_TAG)
            self._add(node, at, f"looks like a YAML {kind}, but is not a valid one")
        return None

    def _add(self, node: yaml.Node | None, at: Location, reason: str) -> None:
        line = _line(node) if node else 0
        self._issues.append(ConfigIssue(self._file, line, _path(at), reason))


def _line(marked: yaml.Node | yaml.Event) -> int:
    """Return the line, counted from 1, on which a node or event begins."""
    return marked.start_mark.line + 1 if marked.start_mark else 0


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == f"{_TAG}null")


def _child(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    """Return a member's line and node; in a mapping, the line is the one of the member's key."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return _line(key), value
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return _line(node.value[step]), node.value[step]
    return None


def _path(location: Location) -> str:
    return "".join(_steps(location)).lstrip(".")


def _steps(location: Location) -> Iterator[str]:
    for step in location:
        yield f"[{step}]" if isinstance(step, int) else f".{step}"
