"""The checks of pods find each fault that schemas let pass, planted into the real manifests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from kubernetes_objects import Objects
from kubernetes_pods import pod_findings

from tests.unit.deploy.manifests import SETTINGS, base_objects, container, named


def _probe(objects: Objects, kind: str, **fields: Any) -> None:
    container(objects)[kind].update(fields)


def _setting(objects: Objects, name: str, value: str) -> None:
    named(objects, "ConfigMap", SETTINGS)["data"][name] = value


def _context(objects: Objects, **fields: Any) -> None:
    container(objects)["securityContext"].update(fields)


def _pod(objects: Objects, **fields: Any) -> None:
    objects.server.pod.update(fields)


def _grpc(port: object, service: str) -> dict[str, object]:
    return {"port": port, "service": service}


FAULTS: Final[dict[str, tuple[Callable[[Objects], object], str]]] = {
    "two handlers": (
        lambda o: _probe(o, "livenessProbe", tcpSocket={"port": "grpc"}),
        "livenessProbe has 2 handlers (grpc, tcpSocket)",
    ),
    "no handler": (
        lambda o: container(o)["startupProbe"].pop("grpc"),
        "startupProbe has 0 handlers",
    ),
    "grace of readiness": (
        lambda o: _probe(o, "readinessProbe", terminationGracePeriodSeconds=5),
        "readinessProbe has a terminationGracePeriodSeconds",
    ),
    "success threshold": (
        lambda o: _probe(o, "livenessProbe", successThreshold=2),
        "livenessProbe has a successThreshold",
    ),
    "named gRPC port": (
        lambda o: _probe(o, "readinessProbe", grpc=_grpc("grpc", "readiness")),
        "the port of a gRPC probe has to be a number, not 'grpc'",
    ),
    "unknown port": (
        lambda o: _probe(o, "readinessProbe", grpc=_grpc(50053, "readiness")),
        "readinessProbe asks port 50053, which the container does not declare",
    ),
    "other service": (
        lambda o: _probe(o, "livenessProbe", grpc=_grpc(50052, "readiness")),
        "livenessProbe asks for the health name 'readiness' instead of 'liveness'",
    ),
    "two hooks": (
        lambda o: container(o)["lifecycle"]["preStop"].update(exec={"command": ["true"]}),
        "preStop has to have exactly one handler",
    ),
    "no preStop": (lambda o: container(o).pop("lifecycle"), "there is no preStop sleep"),
    "short grace": (
        lambda o: _pod(o, terminationGracePeriodSeconds=32),
        "is 32, but preStop, drain_delay, drain_grace and the end of the process take 33 seconds",
    ),
    "long drain": (
        lambda o: _setting(o, "DYNAMODB_PROCESSOR_DRAIN_GRACE", "1m"),
        "the end of the process take 73 seconds",
    ),
    "unknown setting": (
        lambda o: _setting(o, "DYNAMODB_PROCESSOR_CACHE_BYTES", "1"),
        "DYNAMODB_PROCESSOR_CACHE_BYTES names no setting",
    ),
    "unknown variable": (
        lambda o: _setting(o, "CACHE_BYTES", "1"),
        "CACHE_BYTES is a variable that nothing reads",
    ),
    "wrong setting": (
        lambda o: _setting(o, "DYNAMODB_PROCESSOR_LOG_LEVEL", "LOUD"),
        "setting log_level: Input should be 'DEBUG'",
    ),
    "public secret": (
        lambda o: _setting(o, "DYNAMODB_PROCESSOR_TOKEN_KEYS", "a:b"),
        "DYNAMODB_PROCESSOR_TOKEN_KEYS is a secret",
    ),
    "loopback": (
        lambda o: _setting(o, "DYNAMODB_PROCESSOR_LISTEN", "127.0.0.1:50051"),
        "127.0.0.1:50051 is no address that other pods reach",
    ),
    "plain text": (
        lambda o: _setting(o, "DYNAMODB_PROCESSOR_INSECURE", "false"),
        "it has neither a certificate nor the setting insecure",
    ),
    "undeclared port": (
        lambda o: _setting(o, "DYNAMODB_PROCESSOR_METRICS_LISTEN", "0.0.0.0:9000"),
        "the server listens on 0.0.0.0:9000, a port that its container does not declare",
    ),
    "root": (lambda o: o.server.pod["securityContext"].pop("runAsUser"), "other than root"),
    "seccomp": (lambda o: o.server.pod["securityContext"].pop("seccompProfile"), "seccompProfile"),
    "token of Kubernetes": (
        lambda o: o.server.pod.pop("automountServiceAccountToken"),
        "automountServiceAccountToken has to be false",
    ),
    "service links": (
        lambda o: o.server.pod.pop("enableServiceLinks"),
        "enableServiceLinks has to be false",
    ),
    "network of the node": (lambda o: _pod(o, hostNetwork=True), "pods use the node's hostNetwork"),
    "escalation": (
        lambda o: _context(o, allowPrivilegeEscalation=True),
        "allowPrivilegeEscalation has to be false",
    ),
    "writable root": (
        lambda o: _context(o, readOnlyRootFilesystem=False),
        "readOnlyRootFilesystem has to be true",
    ),
    "capabilities": (
        lambda o: _context(o, capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
        "capabilities have to drop ALL and add none",
    ),
    "privileged": (lambda o: _context(o, privileged=True), "the container is privileged"),
    "no request for CPU": (
        lambda o: container(o)["resources"]["requests"].pop("cpu"),
        "there is no request for CPU",
    ),
    "memory": (
        lambda o: container(o)["resources"]["limits"].update(memory="2Gi"),
        "request and limit of memory have to be equal",
    ),
    "latest": (
        lambda o: container(o).update(image="registry.example:5000/server:latest"),
        "the image registry.example:5000/server:latest has no tag or digest",
    ),
}


def test_the_manifests_have_no_fault() -> None:
    """The base, as it is, passes every check of pods."""
    assert list(pod_findings(base_objects())) == []


@pytest.mark.parametrize(("plant", "expected"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_found(plant: Callable[[Objects], object], expected: str) -> None:
    """Each fault gives a sentence that names it."""
    objects = base_objects()
    plant(objects)
    assert any(expected in finding for finding in pod_findings(objects))
