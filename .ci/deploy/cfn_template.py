"""Reads CloudFormation templates as plain Python values.

A short form such as `!Ref Key` becomes the long one, `{"Ref": "Key"}`. Other modules of this folder
check the values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "deploy" / "cloudformation"
#: The stacks in the order in which they are deployed.
ORDER: Final = ("network", "data", "cache", "roles", "service", "alarms")

Template: TypeAlias = dict[str, Any]
Resource: TypeAlias = tuple[str, Mapping[str, Any]]  # logical name, and the resource


class _Loader(yaml.SafeLoader):
    """A loader that knows the short forms of CloudFormation's functions."""


def _function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)


def parse(text: str) -> Template:
    """Return a template."""
    template = yaml.load(text, _Loader)  # noqa: S506 - a subclass of the safe loader
    assert isinstance(template, dict)
    return template


def load() -> dict[str, Template]:
    """Return every template of the project by its name, in the order of deployment."""
    folder = FOLDER / "templates"
    names = {file.stem for file in folder.glob("*.yaml")}
    assert names == set(ORDER), f"{folder} has {sorted(names)}"
    return {name: parse((folder / f"{name}.yaml").read_text("utf-8")) for name in ORDER}


def resources(template: Template, kind: str) -> Iterator[Resource]:
    """Yield the resources of a type, such as `AWS::ECS::Service`."""
    for name, resource in template["Resources"].items():
        if resource["Type"] == kind:
            yield name, resource


def text_of(value: Any) -> str:
    """Return a string, or the template of a string that `Fn::Sub` fills; else an empty string."""
    if isinstance(value, Mapping) and "Fn::Sub" in value:
        value = value["Fn::Sub"]
        value = value[0] if isinstance(value, list) else value
    return value if isinstance(value, str) else ""


def as_list(value: Any) -> list[Any]:
    """Return a list, or a list of the one value that stands for it."""
    return value if isinstance(value, list) else [value]


def imports(value: Any) -> Iterator[str]:
    """Yield the names of the exports that a value or its parts import."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key == "Fn::ImportValue":
                yield text_of(part)
            else:
                yield from imports(part)
    elif isinstance(value, list):
        for part in value:
            yield from imports(part)


def exports(template: Template) -> set[str]:
    """Return the names that a stack exports."""
    outputs = template.get("Outputs", {}).values()
    return {text_of(output["Export"]["Name"]) for output in outputs if "Export" in output}
