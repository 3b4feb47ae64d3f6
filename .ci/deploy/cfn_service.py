"""Checks the parts of service.yaml that cfn-lint does not understand.

They are the load balancer's health check of a gRPC server, and the settings and times of the server
in the task definition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cfn_template import ROOT, Template, as_list, resources
from grpc_health.v1 import health_pb2
from pydantic import ValidationError

from dynamodb_processor_server.settings import Settings

#: The method that the server answers without an API key.
HEALTH_PATH: Final = f"/{health_pb2.DESCRIPTOR.services_by_name['Health'].full_name}/Check"
_PREFIX: Final = "DYNAMODB_PROCESSOR_"
_IMAGE_SETTING: Final = re.compile(r"^(?:ENV)? +DYNAMODB_PROCESSOR_(\w+)=(\S+)", re.MULTILINE)
_HEALTH_COMMAND: Final = ["CMD", "dynamodb-processor", "health"]
_BALANCING: Final = "AWS::ElasticLoadBalancingV2::"
_MOST_STOP_TIMEOUT: Final = 120  # seconds, on Fargate
_KILL_MARGIN: Final = 5  # seconds after which a server that drains ends by itself
# Stand-ins for values that only a deployment has.
_PSEUDO: Final = {"AWS::Region": "eu-west-1"}
_IMPORTED: Final = "https://imported.example"
_IMPORTED_ARN: Final = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:imported-AbCdEf"
# A token key and a URL as their secrets hold them.
_SECRETS: Final = {
    "token_keys": f"check:{'A' * 43}",
    "redis_url": "rediss://user:password@cache.example:6379",
}


def check_balancing(template: Template) -> Iterator[str]:
    """Yield the reasons for which the load balancer would not serve gRPC."""
    listeners = dict(resources(template, f"{_BALANCING}Listener"))
    for name, group in resources(template, f"{_BALANCING}TargetGroup"):
        properties = group["Properties"]
        if properties.get("ProtocolVersion") != "GRPC":
            yield f"{name}: ProtocolVersion must be GRPC"
        if properties.get("Matcher") != {"GrpcCode": "0"}:
            yield f"{name}: Matcher must be GrpcCode 0, the status of an answered health check"
        path = str(properties.get("HealthCheckPath", ""))
        if not path.startswith("/"):
            yield f"{name}: HealthCheckPath must begin with a slash"
        elif path != HEALTH_PATH:
            yield f"{name}: HealthCheckPath must be {HEALTH_PATH}"
        if properties.get("TargetType") != "ip":
            yield f"{name}: TargetType must be ip, since each task has an address of its own"
        forwarding = [
            listener
            for listener in listeners.items()
            for action in listener[1]["Properties"]["DefaultActions"]
            if action.get("TargetGroupArn") == {"Ref": name}
        ]
        if not forwarding:
            yield f"{name}: no listener forwards to it"
        for listener in forwarding:
            yield from _check_listener(*listener)


def _check_listener(name: str, listener: Mapping[str, Any]) -> Iterator[str]:
    if listener["Properties"].get("Protocol") != "HTTPS":
        yield f"{name}: Protocol must be HTTPS, the only one over which a load balancer takes gRPC"
    if not listener["Properties"].get("Certificates"):
        yield f"{name}: Certificates is missing"


def check_ports(template: Template, port: int) -> Iterator[str]:
    """Yield the places that name another port than the image's for gRPC."""
    server = _server(template)
    named = {
        "PortMappings": server["PortMappings"][0]["ContainerPort"],
        "LISTEN": int(_environment(server)["listen"].rpartition(":")[2]),
        "HealthCheck": int(server["HealthCheck"]["Command"][-1].rpartition(":")[2]),
    }
    for name, group in resources(template, f"{_BALANCING}TargetGroup"):
        named[name] = group["Properties"]["Port"]
    for name, service in resources(template, "AWS::ECS::Service"):
        named[name] = service["Properties"]["LoadBalancers"][0]["ContainerPort"]
    for name, group in resources(template, "AWS::EC2::SecurityGroup"):
        rules = group["Properties"].get("SecurityGroupIngress", [])
        if any("SourceSecurityGroupId" in rule for rule in rules):
            named[name] = rules[0]["FromPort"]
    for where, found in named.items():
        if found != port:
            yield f"{where}: the port is {found}, but the server's is {port}"


def check_container(template: Template) -> Iterator[str]:
    """Yield rights that a container should not have, and files that it lacks."""
    for container in _containers(template):
        if container.get("ReadonlyRootFilesystem") is not True:
            yield f"{container['Name']}: ReadonlyRootFilesystem must be true"
    server = _server(template)
    if server.get("User") != "10001:10001":
        yield "server: User must be 10001:10001, as in the image"
    if server.get("HealthCheck", {}).get("Command", [])[:3] != _HEALTH_COMMAND:
        yield f"server: HealthCheck must be {_HEALTH_COMMAND}"
    mounts = {mount["ContainerPath"]: mount["ReadOnly"] for mount in server["MountPoints"]}
    (writer,) = (each for each in _containers(template) if each["Name"] == "files")
    environment = _environment(server)
    if environment.get("insecure") != "true" and "tls_certificate" not in environment:
        yield "server: needs DYNAMODB_PROCESSOR_INSECURE or a certificate, or it does not start"
    for setting in ("catalog", "keys"):
        if not environment.get(setting):
            continue
        folder = environment[setting].rpartition("/")[0]
        if not mounts.get(folder):
            yield f"server: {folder}, where {setting} is, must be a volume that is only read"
        if environment[setting] not in writer["Command"][0]:
            yield f"files: the command does not write {environment[setting]}"


def check_settings(template: Template, files: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield settings that the server does not have or whose value it refuses, by environment."""
    server = _server(template)
    environment = _environment(server)
    names = {*environment, *_secrets(server)}
    for name in sorted(names - set(Settings.model_fields)):
        yield f"server: there is no setting {name}"
    for name in sorted(set(_secrets(server)) & set(Settings.model_fields)):
        if not _is_secret(name):
            yield f"server: {name} is no secret"
    for name in sorted(set(environment) & set(Settings.model_fields)):
        if _is_secret(name):
            yield f"server: {name} is a secret, and everybody can read Environment"
    if names - set(Settings.model_fields):
        return
    for file, values in files.items():
        given = image_settings()
        given |= {name: _value(value, template, values) for name, value in environment.items()}
        given |= {name: _SECRETS[name] for name in _secrets(server) if name in _SECRETS}
        try:
            settings = Settings.model_validate(given)
        except ValidationError as error:
            for detail in error.errors(include_input=False, include_url=False):
                yield f"{file}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}"
            continue
        stop_timeout = int(_value(server["StopTimeout"], template, values))
        yield from _check_times(file, settings, stop_timeout)


def image_settings() -> dict[str, str]:
    """Return the settings that the image gives the server."""
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    return {name.lower(): value for name, value in _IMAGE_SETTING.findall(dockerfile)}


def _check_times(file: str, settings: Settings, stop_timeout: int) -> Iterator[str]:
    needed = settings.drain_delay + settings.drain_grace + _KILL_MARGIN
    if not needed <= stop_timeout <= _MOST_STOP_TIMEOUT:
        yield (
            f"{file}: StopTimeout is {stop_timeout}; the server needs {needed:g} seconds, and "
            f"Fargate waits {_MOST_STOP_TIMEOUT} at most"
        )


def _value(value: Any, template: Template, given: Mapping[str, str]) -> str:
    """Return the text that a value has in a deployment with the given parameters."""
    if isinstance(value, Mapping) and "Ref" in value:
        name = value["Ref"]
        if name in _PSEUDO:
            return _PSEUDO[name]
        return str(given.get(name, template["Parameters"][name].get("Default", "")))
    if isinstance(value, Mapping):
        return _IMPORTED_ARN if str(value).endswith("Arn'}}") else _IMPORTED
    return str(value)


def _is_secret(name: str) -> bool:
    return "SecretStr" in str(Settings.model_fields[name].annotation)


def _containers(template: Template) -> list[dict[str, Any]]:
    ((_, definition),) = resources(template, "AWS::ECS::TaskDefinition")
    return as_list(definition["Properties"]["ContainerDefinitions"])


def _server(template: Template) -> dict[str, Any]:
    (server,) = (each for each in _containers(template) if each["Name"] == "server")
    return server


def _environment(container: Mapping[str, Any]) -> dict[str, Any]:
    return {_setting(entry["Name"]): entry["Value"] for entry in container["Environment"]}


def _secrets(container: Mapping[str, Any]) -> list[str]:
    return [_setting(entry["Name"]) for entry in container.get("Secrets", ())]


def _setting(variable: str) -> str:
    return variable.removeprefix(_PREFIX).lower()
