"""The descriptor set that Envoy transcodes with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from google.api import annotations_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.rpc import error_details_pb2, status_pb2

from gateway.rules import SERVICE_FILES, Rule


def descriptor_set(rules: Sequence[Rule]) -> FileDescriptorSet:
    """Return the contract with a rule at each method, and all that it imports.

    `google/rpc/error_details.proto` is part of it: without it Envoy converts no error that has
    details.
    """
    files = _with_imports(
        [
            annotations_pb2.DESCRIPTOR,
            error_details_pb2.DESCRIPTOR,
            status_pb2.DESCRIPTOR,
            *SERVICE_FILES,
        ]
    )
    by_name = {rule.method.full_name: rule for rule in rules}
    return FileDescriptorSet(file=[_annotated(file, by_name) for file in files])


def _with_imports(files: Iterable[FileDescriptor]) -> list[FileDescriptor]:
    """Return the files, each behind those that it imports."""
    found: dict[str, FileDescriptor] = {}

    def visit(file: FileDescriptor) -> None:
        if file.name not in found:
            for imported in file.dependencies:
                visit(imported)
            found[file.name] = file

    for file in files:
        visit(file)
    return list(found.values())


def _annotated(file: FileDescriptor, rules: dict[str, Rule]) -> FileDescriptorProto:
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    annotations = annotations_pb2.DESCRIPTOR.name
    for service in proto.service:
        for method in service.method:
            rule = rules.get(f"{proto.package}.{service.name}.{method.name}")
            if rule is not None:
                method.options.Extensions[annotations_pb2.http].CopyFrom(rule.http_rule)
                if annotations not in proto.dependency:
                    proto.dependency.append(annotations)
    return proto


def service_names() -> Iterator[str]:
    """Yield the full name of each service of the contract."""
    for file in SERVICE_FILES:
        for service in file.services_by_name.values():
            yield service.full_name
