"""Checks that the names in an overlay agree: labels, selectors, ports, files and namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from kubernetes_objects import Labels, Object, Objects, Workload, count_selected, selects
from kubernetes_pods import settings_of

_CLUSTER_WIDE: Final = frozenset({"Namespace"})


def reference_findings(objects: Objects, secrets: Objects) -> Iterator[str]:
    """Yield one sentence for each name that leads nowhere.

    Args:
        objects: The objects of an overlay.
        secrets: The documented examples of the Secrets that operators create.
    """
    yield from _namespace_faults(objects)
    yield from _selector_faults(objects)
    yield from _service_faults(objects)
    yield from _policy_faults(objects)
    yield from _target_faults(objects)
    yield from _monitor_faults(objects)
    yield from _certificate_faults(objects)
    for workload in objects.workloads:
        for text in _source_faults(workload, objects, secrets):
            yield f"{workload.name}: {text}"
    yield from _file_faults(objects, secrets)


def keys_of(kind: str, name: str, objects: Objects, secrets: Objects) -> set[str] | None:
    """Return the keys of a ConfigMap or Secret, None if there is no such object."""
    found = (objects if kind == "ConfigMap" else secrets).named(kind, name)
    if found is None:
        return None
    return {key for part in ("data", "stringData", "binaryData") for key in found.get(part) or {}}


def _namespace_faults(objects: Objects) -> Iterator[str]:
    declared = {one["metadata"]["name"] for one in objects.of("Namespace")}
    for one in objects.items:
        namespace = one["metadata"].get("namespace")
        if one["kind"] not in _CLUSTER_WIDE and namespace not in declared:
            yield f"{_label(one)} is in the namespace {namespace}, which no object declares"


def _selector_faults(objects: Objects) -> Iterator[str]:
    for workload in objects.workloads:
        if not selects(workload.spec["selector"]["matchLabels"], workload.labels):
            yield f"Deployment {workload.name}: its selector does not match its own pods"
        for constraint in workload.pod.get("topologySpreadConstraints", ()):
            if not selects(constraint["labelSelector"]["matchLabels"], workload.labels):
                yield (
                    f"Deployment {workload.name}: the spread over {constraint['topologyKey']} "
                    "counts other pods"
                )
    selectors: list[tuple[Object, Labels]] = [
        (one, one["spec"]["selector"]) for one in objects.of("Service")
    ]
    selectors += [
        (one, one["spec"]["selector"]["matchLabels"]) for one in objects.of("PodDisruptionBudget")
    ]
    selectors += [
        (one, one["spec"]["podSelector"]["matchLabels"]) for one in objects.of("NetworkPolicy")
    ]
    for one, selector in selectors:
        matched = count_selected(selector, objects.workloads)
        if matched != 1:
            yield f"{_label(one)} selects the pods of {matched} Deployments instead of one"


def _service_faults(objects: Objects) -> Iterator[str]:
    for service in objects.of("Service"):
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            for workload in _selected(service["spec"]["selector"], objects):
                if target not in workload.ports and target not in workload.ports.values():
                    yield f"{_label(service)}: no container of {workload.name} has port {target}"


def _policy_faults(objects: Objects) -> Iterator[str]:
    for policy in objects.of("NetworkPolicy"):
        spec = policy["spec"]
        if set(spec.get("policyTypes", ())) != {"Ingress", "Egress"}:
            yield f"{_label(policy)} does not restrict both directions"
        for workload in _selected(spec["podSelector"]["matchLabels"], objects):
            for rule in spec.get("ingress", ()):
                for port in rule.get("ports", ()):
                    if port["port"] not in workload.ports.values():
                        yield f"{_label(policy)} opens port {port['port']}, which no container has"
    selectors = [one["spec"]["podSelector"]["matchLabels"] for one in objects.of("NetworkPolicy")]
    for workload in objects.workloads:
        if not any(selects(selector, workload.labels) for selector in selectors):
            yield f"Deployment {workload.name}: no network policy restricts it"


def _target_faults(objects: Objects) -> Iterator[str]:
    for scaler in objects.of("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        found = objects.named(target["kind"], target["name"])
        if found is None or found["apiVersion"] != target["apiVersion"]:
            yield f"{_label(scaler)} scales {target['kind']} {target['name']}, which does not exist"
        elif "replicas" in found["spec"]:
            yield f"{_label(scaler)}: each apply resets the replicas that {_label(found)} names"
    for budget in objects.of("PodDisruptionBudget"):
        if budget["spec"].get("maxUnavailable", 1) in (0, "0%"):
            yield f"{_label(budget)} forbids every eviction, so no node can be drained"


def _monitor_faults(objects: Objects) -> Iterator[str]:
    for monitor in objects.of("ServiceMonitor"):
        spec = monitor["spec"]
        selected = [
            service
            for service in objects.of("Service")
            if selects(spec["selector"]["matchLabels"], service["metadata"]["labels"])
        ]
        if len(selected) != 1:
            yield f"{_label(monitor)} selects {len(selected)} Services instead of one"
        for service in selected:
            names = {port["name"] for port in service["spec"]["ports"]}
            for endpoint in spec["endpoints"]:
                if endpoint["port"] not in names:
                    yield f"{_label(monitor)}: {_label(service)} has no port {endpoint['port']}"
            if spec.get("jobLabel") not in service["metadata"]["labels"]:
                yield f"{_label(monitor)}: {_label(service)} has no label {spec.get('jobLabel')}"


def _certificate_faults(objects: Objects) -> Iterator[str]:
    """Yield each name of the server's Services that its certificate lacks."""
    for certificate in objects.of("Certificate"):
        named = set(certificate["spec"]["dnsNames"])
        namespace = certificate["metadata"]["namespace"]
        for service in objects.of("Service"):
            if selects(service["spec"]["selector"], objects.server.labels):
                name = f"{service['metadata']['name']}.{namespace}"
                for wanted in (name, f"{name}.svc", f"{name}.svc.cluster.local"):
                    if wanted not in named:
                        yield f"{_label(certificate)} has no name {wanted}"


def _source_faults(workload: Workload, objects: Objects, secrets: Objects) -> Iterator[str]:
    account = workload.pod.get("serviceAccountName")
    if account is not None and objects.named("ServiceAccount", account) is None:
        yield f"the service account {account} does not exist"
    volumes = {volume["name"] for volume in workload.pod.get("volumes", ())}
    for container in workload.containers:
        for mount in container.get("volumeMounts", ()):
            if mount["name"] not in volumes:
                yield f"there is no volume {mount['name']}"
    for kind, name, key in _sources(workload):
        keys = keys_of(kind, name, objects, secrets)
        if keys is None:
            yield f"there is no {kind} {name}"
        elif key is not None and key not in keys:
            yield f"{kind} {name} has no key {key}"


def _sources(workload: Workload) -> Iterator[tuple[str, str, str | None]]:
    """Yield kind, name and key of the objects that variables and files of pods come from."""
    for container in workload.containers:
        for source in container.get("envFrom", ()):
            for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if field in source:
                    yield kind, source[field]["name"], None
        for entry in container.get("env", ()):
            for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                reference = entry.get("valueFrom", {}).get(field)
                if reference is not None:
                    yield kind, reference["name"], reference["key"]
    for volume in workload.pod.get("volumes", ()):
        for kind, name, items in _volume_sources(volume):
            yield kind, name, None
            yield from ((kind, name, item["key"]) for item in items)


def _volume_sources(volume: Object) -> Iterator[tuple[str, str, list[Object]]]:
    if "configMap" in volume:
        yield "ConfigMap", volume["configMap"]["name"], volume["configMap"].get("items", [])
    if "secret" in volume:
        yield "Secret", volume["secret"]["secretName"], volume["secret"].get("items", [])


def _file_faults(objects: Objects, secrets: Objects) -> Iterator[str]:
    """Yield the settings that name a file which no volume has."""
    settings, _ = settings_of(objects)
    if settings is None:
        return
    server = objects.server
    files = mounted_files(server, objects, secrets)
    for name, value in settings:
        if isinstance(value, Path) and (path := PurePosixPath(value)) not in files:
            yield f"{server.name}: the setting {name} is {path}, a file that no volume has"


def mounted_files(
    workload: Workload, objects: Objects, secrets: Objects
) -> dict[PurePosixPath, tuple[str, str, str]]:
    """Return kind, name and key of the object that each mounted file comes from."""
    volumes = {volume["name"]: volume for volume in workload.pod.get("volumes", ())}
    files = {}
    for mount in workload.containers[0].get("volumeMounts", ()):
        folder = PurePosixPath(mount["mountPath"])
        for kind, name, items in _volume_sources(volumes.get(mount["name"], {})):
            keys = keys_of(kind, name, objects, secrets) or set()
            paths = {item["path"]: item["key"] for item in items} or {key: key for key in keys}
            files.update({folder / path: (kind, name, key) for path, key in paths.items()})
    return files


def _selected(selector: Labels, objects: Objects) -> Iterator[Workload]:
    return (one for one in objects.workloads if selects(selector, one.labels))


def _label(one: Object) -> str:
    return f"{one['kind']} {one['metadata']['name']}"
