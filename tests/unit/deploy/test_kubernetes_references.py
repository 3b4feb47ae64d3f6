"""The checks of names find each reference that leads nowhere, planted into the real manifests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from kubernetes_objects import Objects
from kubernetes_references import reference_findings

from tests.unit.deploy.manifests import SETTINGS, base_objects, container, example_secrets, named

_NAME: Final = "dynamodb-processor"


def _spec(objects: Objects, kind: str, name: str = _NAME) -> dict[str, Any]:
    spec: dict[str, Any] = named(objects, kind, name)["spec"]
    return spec


def _volume(objects: Objects, name: str) -> dict[str, Any]:
    volumes = objects.server.pod["volumes"]
    found: dict[str, Any] = next(one for one in volumes if one["name"] == name)
    return found


def _add_variable(objects: Objects, secret: str, key: str) -> None:
    reference = {"secretKeyRef": {"name": secret, "key": key}}
    container(objects)["env"] = [{"name": "AWS_ACCESS_KEY_ID", "valueFrom": reference}]


def _relabel(objects: Objects) -> None:
    objects.server.spec["template"]["metadata"]["labels"] = {"app": "other"}


FAULTS: Final[dict[str, tuple[Callable[[Objects], object], str]]] = {
    "namespace": (
        lambda o: named(o, "Service", _NAME)["metadata"].update(namespace="default"),
        "Service dynamodb-processor is in the namespace default",
    ),
    "labels of pods": (_relabel, "its selector does not match its own pods"),
    "spread": (
        lambda o: o.server.pod["topologySpreadConstraints"][0]["labelSelector"].update(
            matchLabels={"app": "other"}
        ),
        "the spread over topology.kubernetes.io/zone counts other pods",
    ),
    "selector of a Service": (
        lambda o: _spec(o, "Service").update(selector={"app": "other"}),
        "Service dynamodb-processor selects the pods of 0 Deployments",
    ),
    "selector of a budget": (
        lambda o: _spec(o, "PodDisruptionBudget")["selector"].update(matchLabels={"app": "x"}),
        "PodDisruptionBudget dynamodb-processor selects the pods of 0 Deployments",
    ),
    "selector of a policy": (
        lambda o: _spec(o, "NetworkPolicy")["podSelector"].update(matchLabels={"app": "x"}),
        "Deployment dynamodb-processor: no network policy restricts it",
    ),
    "port of a Service": (
        lambda o: _spec(o, "Service")["ports"][0].update(targetPort="http"),
        "no container of dynamodb-processor has port http",
    ),
    "port of a policy": (
        lambda o: _spec(o, "NetworkPolicy")["ingress"][0]["ports"][0].update(port=443),
        "NetworkPolicy dynamodb-processor opens port 443, which no container has",
    ),
    "open egress": (
        lambda o: _spec(o, "NetworkPolicy").update(policyTypes=["Ingress"]),
        "does not restrict both directions",
    ),
    "target of the autoscaler": (
        lambda o: _spec(o, "HorizontalPodAutoscaler")["scaleTargetRef"].update(name="other"),
        "scales Deployment other, which does not exist",
    ),
    "replicas beside an autoscaler": (
        lambda o: o.server.spec.update(replicas=2),
        "each apply resets the replicas",
    ),
    "no evictions": (
        lambda o: _spec(o, "PodDisruptionBudget").update(maxUnavailable=0),
        "forbids every eviction",
    ),
    "monitor": (
        lambda o: _spec(o, "ServiceMonitor")["selector"].update(matchLabels={"app": "x"}),
        "ServiceMonitor dynamodb-processor selects 0 Services",
    ),
    "port of a monitor": (
        lambda o: _spec(o, "ServiceMonitor")["endpoints"][0].update(port="http"),
        "Service dynamodb-processor-replicas has no port http",
    ),
    "job label": (
        lambda o: _spec(o, "ServiceMonitor").update(jobLabel="app"),
        "Service dynamodb-processor-replicas has no label app",
    ),
    "name in the certificate": (
        lambda o: _spec(o, "Certificate")["dnsNames"].pop(1),
        "has no name dynamodb-processor.dynamodb-processor-staging.svc",
    ),
    "service account": (
        lambda o: o.server.pod.update(serviceAccountName="other"),
        "the service account other does not exist",
    ),
    "volume": (lambda o: _volume(o, "secrets").update(name="x"), "there is no volume secrets"),
    "ConfigMap of variables": (
        lambda o: container(o)["envFrom"][0]["configMapRef"].update(name="settings"),
        "there is no ConfigMap settings",
    ),
    "Secret": (
        lambda o: _add_variable(o, "secrets", "token-keys"),
        "there is no Secret secrets",
    ),
    "key of a Secret": (
        lambda o: _add_variable(o, _NAME, "token_keys"),
        "Secret dynamodb-processor has no key token_keys",
    ),
    "ConfigMap of files": (
        lambda o: _volume(o, "catalog")["configMap"].update(name="tables"),
        "there is no ConfigMap tables",
    ),
    "key of a file": (
        lambda o: _volume(o, "secrets")["secret"]["items"][0].update(key="keys.yml"),
        "Secret dynamodb-processor has no key keys.yml",
    ),
    "file of a secret": (
        lambda o: _volume(o, "secrets")["secret"]["items"].pop(1),
        "the setting token_keys_file is /etc/dynamodb-processor/secrets/token-keys, a file that no",
    ),
    "path of a file": (
        lambda o: named(o, "ConfigMap", SETTINGS)["data"].update(
            DYNAMODB_PROCESSOR_CATALOG="/etc/catalog.yaml"
        ),
        "the setting catalog is /etc/catalog.yaml, a file that no volume has",
    ),
    "file of the certificate": (
        lambda o: named(o, "ConfigMap", SETTINGS)["data"].update(
            DYNAMODB_PROCESSOR_TLS_CERTIFICATE="/etc/tls/tls.crt",
            DYNAMODB_PROCESSOR_TLS_KEY="/etc/tls/tls.key",
        ),
        "the setting tls_key is /etc/tls/tls.key, a file that no volume has",
    ),
}


def test_the_manifests_have_no_fault() -> None:
    """The base, as it is, names nothing that is missing."""
    assert list(reference_findings(base_objects(), example_secrets())) == []


@pytest.mark.parametrize(("plant", "expected"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_found(plant: Callable[[Objects], object], expected: str) -> None:
    """Each name that leads nowhere gives a sentence that says which."""
    objects = base_objects()
    plant(objects)
    findings = list(reference_findings(objects, example_secrets()))
    assert any(expected in finding for finding in findings), findings
