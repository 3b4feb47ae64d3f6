"""The API reference has a section for every type of the contract, made from its comments."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from dynamodb_processor.v1 import (
    cache_service_pb2,
    catalog_service_pb2,
    query_pb2,
    query_service_pb2,
    value_pb2,
)

ROOT: Final = Path(__file__).parents[2]
MODULES: Final = (
    cache_service_pb2,
    catalog_service_pb2,
    query_pb2,
    query_service_pb2,
    value_pb2,
)
PAGE: Final = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reference() -> Iterator[ModuleType]:
    """The script, imported as a module."""
    script = ROOT / ".ci" / "api_reference.py"
    spec = importlib.util.spec_from_file_location("api_reference", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    monkeypatch.undo()


def test_the_page_is_what_the_comments_make(reference: ModuleType) -> None:
    """The page in the repository is the one that the script writes."""
    assert reference.page() == PAGE


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.__name__))
def test_every_declaration_has_its_row(module: ModuleType) -> None:
    """Each method, field and value of the generated code is named in the section of its type."""
    for service in module.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            assert f"| `{method.name}` |" in section(service.name), method.full_name
    for message in module.DESCRIPTOR.message_types_by_name.values():
        for field in message.fields:
            assert f"| `{field.name}` | {field.number} |" in section(message.name), field.full_name
    for enum in module.DESCRIPTOR.enum_types_by_name.values():
        for value in enum.values:
            assert f"| `{value.name}` | {value.number} |" in section(enum.name), value.name


def test_links_between_types_have_their_section() -> None:
    """A type that a table links to has a section on the page."""
    headings = {
        heading.replace(".", "").lower() for heading in re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    }
    links = set(re.findall(r"\]\(#(\w+)\)", PAGE))
    assert len(links) > 40
    assert links <= headings


def test_a_declaration_without_a_comment_is_refused(reference: ModuleType) -> None:
    """A field that nobody described makes no row."""
    with pytest.raises(SystemExit, match="no comment for the declaration"):
        reference._comments(FileDescriptorProto())[(4, 0)]


def section(name: str) -> str:
    """Return the section of the page about the service, message or enum."""
    _, found, rest = PAGE.partition(f"## {name}\n")
    assert found, name
    return rest.partition("\n## ")[0]
