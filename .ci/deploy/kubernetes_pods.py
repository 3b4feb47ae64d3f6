"""Checks of pods that no schema expresses: probes, shutdown, settings and privileges.

Kubernetes refuses some of these manifests when they are applied, and accepts others that then fail
at run time. The usual validators know neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, get_args

from kubernetes_objects import Object, Objects, Workload
from pydantic import SecretStr, ValidationError

from dynamodb_processor_server.cli.serve import CLOSE_SECONDS
from dynamodb_processor_server.serving_settings import ENVIRONMENT_PREFIX
from dynamodb_processor_server.settings import Settings

_PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")
_HANDLERS: Final = frozenset({"exec", "grpc", "httpGet", "tcpSocket"})
_HOOKS: Final = frozenset({"exec", "httpGet", "sleep", "tcpSocket"})
# Variables that the AWS libraries of the server read.
_FOREIGN_VARIABLES: Final = frozenset({"AWS_REGION"})
_SECRETS: Final = frozenset(
    name
    for name, field in Settings.model_fields.items()
    if SecretStr in (field.annotation, *get_args(field.annotation))
)


def pod_findings(objects: Objects) -> Iterator[str]:
    """Yield one sentence for each fault in the pods of an overlay."""
    for workload in objects.workloads:
        for container in workload.containers:
            name = f"{workload.name}/{container['name']}"
            yield from (f"{name}: {text}" for text in _probe_faults(container))
            yield from (f"{name}: {text}" for text in _container_privileges(container))
            yield from (f"{name}: {text}" for text in _resource_faults(container))
        yield from (f"{workload.name}: {text}" for text in _pod_privileges(workload.pod))
    server = objects.server
    yield from (f"{server.name}: {text}" for text in _setting_faults(objects))
    yield from (f"{server.name}: {text}" for text in _shutdown_faults(objects))
    yield from (f"{server.name}: {text}" for text in _server_probe_faults(server))


def settings_of(objects: Objects) -> tuple[Settings | None, list[str]]:
    """Return the settings that the ConfigMap gives the server, and the faults in them."""
    given: dict[str, str] = {}
    for name, value in objects.variables(objects.server.containers[0]).items():
        field = name.removeprefix(ENVIRONMENT_PREFIX).lower()
        if value is not None and field in Settings.model_fields:
            given[field] = value
    try:
        return Settings.model_validate(given), []
    except ValidationError as error:
        return None, [
            f"setting {'.'.join(map(str, details['loc']))}: {details['msg']}"
            for details in error.errors(include_input=False, include_url=False)
        ]


def addresses_of(settings: Settings) -> dict[str, str]:
    """Return the addresses on which the server listens, by setting."""
    names = [name for name in Settings.model_fields if name.endswith("listen")]
    return {name: value for name in names if (value := getattr(settings, name)) is not None}


def _probe_faults(container: Object) -> Iterator[str]:
    ports = {port["containerPort"]: port["name"] for port in container.get("ports", ())}
    for kind in _PROBES:
        probe = container.get(kind)
        if probe is None:
            continue
        handlers = sorted(_HANDLERS & probe.keys())
        if len(handlers) != 1:
            yield f"{kind} has {len(handlers)} handlers ({', '.join(handlers)}): give exactly one"
        if kind == "readinessProbe" and "terminationGracePeriodSeconds" in probe:
            yield f"{kind} has a terminationGracePeriodSeconds: a failed one ends no container"
        if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
            yield f"{kind} has a successThreshold other than 1, which Kubernetes refuses"
        for handler in handlers:
            port = probe[handler].get("port") if handler != "exec" else None
            if handler == "grpc" and not isinstance(port, int):
                yield f"{kind}: the port of a gRPC probe has to be a number, not {port!r}"
            elif handler != "exec" and port not in ports and port not in ports.values():
                yield f"{kind} asks port {port}, which the container does not declare"
    hooks = container.get("lifecycle", {}).get("preStop")
    if hooks is not None and len(_HOOKS & hooks.keys()) != 1:
        yield "preStop has to have exactly one handler"


def _server_probe_faults(server: Workload) -> Iterator[str]:
    container = server.containers[0]
    for kind, service in zip(_PROBES, ("liveness", "liveness", "readiness"), strict=True):
        asked = container.get(kind, {}).get("grpc", {}).get("service")
        if asked != service:
            yield f"{kind} asks for the health name {asked!r} instead of {service!r}"


def _container_privileges(container: Object) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation has to be false"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem has to be true"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "capabilities have to drop ALL and add none"
    if context.get("privileged"):
        yield "the container is privileged"


def _pod_privileges(pod: Object) -> Iterator[str]:
    context = pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
        yield "pods have to run as a user other than root: runAsNonRoot and runAsUser"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "seccompProfile has to be RuntimeDefault"
    if pod.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken has to be false: nothing calls Kubernetes"
    if pod.get("enableServiceLinks") is not False:
        yield "enableServiceLinks has to be false: its variables look like settings"
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield f"pods use the node's {name}"


def _resource_faults(container: Object) -> Iterator[str]:
    resources = container.get("resources", {})
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    if "cpu" not in requests:
        yield "there is no request for CPU, which the autoscaler counts by"
    if "memory" not in limits or requests.get("memory") != limits["memory"]:
        yield "request and limit of memory have to be equal"
    tag = container["image"].rpartition("/")[2]
    if ":" not in tag or tag.endswith(":latest"):
        yield f"the image {container['image']} has no tag or digest that names a version"


def _setting_faults(objects: Objects) -> Iterator[str]:
    container = objects.server.containers[0]
    public = {name for config in objects.of("ConfigMap") for name in config["data"]}
    for name, value in objects.variables(container).items():
        field = name.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name.startswith(ENVIRONMENT_PREFIX) and field not in Settings.model_fields:
            yield f"{name} names no setting"
        elif not name.startswith(ENVIRONMENT_PREFIX) and name not in _FOREIGN_VARIABLES:
            yield f"{name} is a variable that nothing reads"
        elif field in _SECRETS and (value is not None or name in public):
            yield f"{name} is a secret: it has to come from a Secret alone"
    settings, faults = settings_of(objects)
    yield from faults
    if settings is None:
        return
    if settings.tls_certificate is None and not settings.insecure:
        yield "the server does not start: it has neither a certificate nor the setting insecure"
    ports = set(objects.server.ports.values())
    for address in addresses_of(settings).values():
        host, _, port = address.rpartition(":")
        if host != "0.0.0.0":  # noqa: S104 - the address is that of a pod
            yield f"{address} is no address that other pods reach"
        if int(port) not in ports:
            yield f"the server listens on {address}, a port that its container does not declare"


def _shutdown_faults(objects: Objects) -> Iterator[str]:
    settings, _ = settings_of(objects)
    if settings is None:
        return
    container = objects.server.containers[0]
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    needed = before + settings.drain_delay + settings.drain_grace + CLOSE_SECONDS
    granted = objects.server.pod.get("terminationGracePeriodSeconds", 30)
    if not before:
        yield "there is no preStop sleep: calls arrive after the server was told to end"
    if granted < needed:
        yield (
            f"terminationGracePeriodSeconds is {granted}, but preStop, drain_delay, drain_grace "
            f"and the end of the process take {needed:g} seconds"
        )
