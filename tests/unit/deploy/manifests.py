"""Reads the manifests of `deploy/kubernetes/base` without kubectl, for tests of the checks."""

from __future__ import annotations

import copy
from typing import Any, Final

import yaml
from kubernetes_objects import FOLDER, Object, Objects, parse

NAMESPACE: Final = "dynamodb-processor-staging"
SETTINGS: Final = "dynamodb-processor-settings"
CATALOG: Final = "tables: {audit_events: {table: audit-events}}\n"
_IMAGE: Final = "registry.example/dynamodb-processor:1.0.0"


def base_objects() -> Objects:
    """Return the objects of an environment without TLS, as kustomize renders them."""
    base = FOLDER / "base"
    kustomization = yaml.safe_load((base / "kustomization.yaml").read_text("utf-8"))
    files = [base / name for name in kustomization["resources"]]
    files += [FOLDER / "fleet" / name for name in ("autoscaler.yaml", "service-monitor.yaml")]
    files.append(FOLDER / "overlays" / "staging" / "certificate.yaml")
    items = [copy.deepcopy(one) for file in files for one in parse(file.read_text("utf-8")).items]
    for generator in kustomization["configMapGenerator"]:
        pairs = (literal.split("=", 1) for literal in generator["literals"])
        items.append(_config_map(generator["name"], dict(pairs)))
    items.append(_config_map("dynamodb-processor-catalog", {"catalog.yaml": CATALOG}))
    for one in items:
        one["metadata"]["namespace"] = NAMESPACE
    items.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    objects = Objects(tuple(items))
    objects.server.containers[0]["image"] = _IMAGE
    named(objects, "ConfigMap", SETTINGS)["data"]["DYNAMODB_PROCESSOR_INSECURE"] = "true"
    return objects


def example_secrets() -> Objects:
    """Return the documented examples of Secrets."""
    return parse((FOLDER / "secret.example.yaml").read_text("utf-8"))


def named(objects: Objects, kind: str, name: str) -> Object:
    """Return an object that has to be there."""
    found = objects.named(kind, name)
    assert found is not None
    return found


def container(objects: Objects) -> dict[str, Any]:
    """Return the server's container."""
    return objects.server.containers[0]


def _config_map(name: str, data: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
