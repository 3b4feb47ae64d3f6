"""Renders the Kubernetes overlays and looks objects up in the result."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

Object: TypeAlias = dict[str, Any]
Labels: TypeAlias = Mapping[str, str]

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "deploy" / "kubernetes"
OVERLAYS: Final = ("dev", "staging", "production")
#: The Deployment of the server; other workloads are aids of an environment.
SERVER: Final = "dynamodb-processor"


class RenderingFailed(Exception):
    """kubectl refused an overlay; the text has its output."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment and the parts of it that checks read."""

    name: str
    spec: Object

    @property
    def pod(self) -> Object:
        """The specification of its pods."""
        pod: Object = self.spec["template"]["spec"]
        return pod

    @property
    def labels(self) -> Labels:
        """The labels of its pods."""
        labels: Labels = self.spec["template"]["metadata"]["labels"]
        return labels

    @property
    def containers(self) -> list[Object]:
        """The containers of its pods, those that initialize them included."""
        return [*self.pod.get("initContainers", ()), *self.pod["containers"]]

    @property
    def ports(self) -> dict[str, int]:
        """The ports of its containers, by name."""
        ports = (port for one in self.containers for port in one.get("ports", ()))
        return {str(port["name"]): int(port["containerPort"]) for port in ports}


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of one overlay."""

    items: tuple[Object, ...]

    def of(self, kind: str) -> Iterator[Object]:
        """Yield the objects of a kind."""
        return (one for one in self.items if one["kind"] == kind)

    def named(self, kind: str, name: str) -> Object | None:
        """Return the object of a kind and name, None if there is none."""
        return next((one for one in self.of(kind) if one["metadata"]["name"] == name), None)

    @property
    def workloads(self) -> list[Workload]:
        """Every Deployment."""
        return [Workload(one["metadata"]["name"], one["spec"]) for one in self.of("Deployment")]

    @property
    def server(self) -> Workload:
        """The Deployment of the server."""
        return next(one for one in self.workloads if one.name == SERVER)

    def variables(self, container: Object) -> dict[str, str | None]:
        """Return a container's variables; None is the value of one from a Secret."""
        found: dict[str, str | None] = {}
        for source in container.get("envFrom", ()):
            config = self.named("ConfigMap", source.get("configMapRef", {}).get("name", ""))
            found.update((config or {}).get("data", {}))
        for entry in container.get("env", ()):
            found[entry["name"]] = entry.get("value")
        return found


def parse(text: str) -> Objects:
    """Return the objects of a YAML stream."""
    return Objects(tuple(one for one in yaml.safe_load_all(text) if one is not None))


def render(kubectl: str, overlay: str, folder: Path = FOLDER) -> str:
    """Return an overlay as YAML. Raises RenderingFailed."""
    command = [kubectl, "kustomize", str(folder / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RenderingFailed(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def selects(selector: Labels, labels: Labels) -> bool:
    """Return whether a selector of equal labels matches an object."""
    return bool(selector) and all(labels.get(name) == value for name, value in selector.items())


def count_selected(selector: Labels, workloads: Iterable[Workload]) -> int:
    """Return how many workloads have pods that a selector matches."""
    return sum(selects(selector, one.labels) for one in workloads)
