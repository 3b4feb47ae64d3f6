"""The checks of service.yaml find each fault that cfn-lint lets pass."""

from __future__ import annotations

from typing import Any, Final

import cfn_service
import cloudformation
import pytest
from cfn_stacks import parameter_files
from cfn_template import Template, load

from tests.unit.deploy.planting import ABSENT, planted

GROUP: Final = ("Resources", "TargetGroup", "Properties")
LISTENER: Final = ("Resources", "Listener", "Properties")
CONTAINERS: Final = ("Resources", "TaskDefinition", "Properties", "ContainerDefinitions")
FILES: Final = (*CONTAINERS, 0)
SERVER: Final = (*CONTAINERS, 1)


@pytest.fixture(scope="module")
def service() -> Template:
    """The template of the service."""
    return load()["service"]


def test_the_template_has_no_finding(service: Template) -> None:
    """The project's own template passes every check."""
    assert list(cfn_service.check_balancing(service)) == []
    assert list(cfn_service.check_ports(service, cloudformation.image_port())) == []
    assert list(cfn_service.check_container(service)) == []
    assert list(cfn_service.check_settings(service, parameter_files())) == []


@pytest.mark.parametrize(
    ("path", "fault", "finding"),
    [
        ((*GROUP, "ProtocolVersion"), "HTTP2", "ProtocolVersion must be GRPC"),
        ((*GROUP, "Matcher"), {"HttpCode": "200"}, "Matcher must be GrpcCode 0"),
        ((*GROUP, "Matcher"), {"GrpcCode": "0-99"}, "Matcher must be GrpcCode 0"),
        ((*GROUP, "Matcher"), ABSENT, "Matcher must be GrpcCode 0"),
        ((*GROUP, "HealthCheckPath"), "grpc.health.v1.Health/Check", "must begin with a slash"),
        ((*GROUP, "HealthCheckPath"), "/health", "must be /grpc.health.v1.Health/Check"),
        ((*GROUP, "TargetType"), "instance", "TargetType must be ip"),
        ((*LISTENER, "Protocol"), "HTTP", "Protocol must be HTTPS"),
        ((*LISTENER, "Certificates"), ABSENT, "Certificates is missing"),
        ((*LISTENER, "DefaultActions"), [], "no listener forwards to it"),
    ],
)
def test_a_fault_of_the_load_balancer_is_found(
    service: Template, path: tuple[str | int, ...], fault: Any, finding: str
) -> None:
    """A load balancer that would not serve gRPC, or take dead tasks for healthy, is a finding."""
    (found,) = cfn_service.check_balancing(planted(service, path, fault))
    assert finding in found


@pytest.mark.parametrize(
    "path",
    [
        (*GROUP, "Port"),
        (*SERVER, "PortMappings", 0, "ContainerPort"),
        ("Resources", "Service", "Properties", "LoadBalancers", 0, "ContainerPort"),
        ("Resources", "TaskSecurityGroup", "Properties", "SecurityGroupIngress", 0, "FromPort"),
    ],
)
def test_another_port_is_found(service: Template, path: tuple[str | int, ...]) -> None:
    """Every place that names the port of gRPC must name that of the image."""
    (found,) = cfn_service.check_ports(planted(service, path, 50052), 50051)
    assert "the port is 50052, but the server's is 50051" in found


@pytest.mark.parametrize(
    ("path", "fault", "finding"),
    [
        ((*SERVER, "User"), "0", "User must be 10001:10001"),
        ((*SERVER, "ReadonlyRootFilesystem"), False, "server: ReadonlyRootFilesystem"),
        ((*FILES, "ReadonlyRootFilesystem"), ABSENT, "files: ReadonlyRootFilesystem"),
        ((*SERVER, "HealthCheck", "Command"), ["CMD-SHELL", "true"], "HealthCheck must be"),
        ((*SERVER, "Environment", 0, "Value"), "/srv/catalog.yaml", "/srv, where catalog is"),
        ((*SERVER, "Environment", 17, "Value"), "false", "needs DYNAMODB_PROCESSOR_INSECURE"),
        ((*FILES, "Command"), ["true"], "does not write /etc/dynamodb-processor/catalog.yaml"),
    ],
)
def test_a_fault_of_a_container_is_found(
    service: Template, path: tuple[str | int, ...], fault: Any, finding: str
) -> None:
    """Rights that a container does not need, and files that it does not get, are findings."""
    assert finding in "\n".join(cfn_service.check_container(planted(service, path, fault)))


@pytest.mark.parametrize(
    ("path", "fault", "finding"),
    [
        (
            (*SERVER, "Environment", 6, "Name"),
            "DYNAMODB_PROCESSOR_REGIN",
            "there is no setting regin",
        ),
        (
            (*SERVER, "Secrets"),
            [{"Name": "DYNAMODB_PROCESSOR_TOKEN_KEY", "ValueFrom": "x"}],
            "there is no setting token_key",
        ),
        ((*SERVER, "Environment", 6, "Value"), "not a region!", "region: "),
        (
            (*SERVER, "Environment", 6, "Name"),
            "DYNAMODB_PROCESSOR_TOKEN_KEYS",
            "token_keys is a secret",
        ),
        (
            (*SERVER, "Environment", 1, "Value"),
            "/etc/dynamodb-processor/keys.yaml",
            "keys: Value error, contradicts keys_secret",
        ),
        (
            (*SERVER, "Environment", 3, "Value"),
            "the token keys",
            "token_keys_secret: ",
        ),
        (
            (*SERVER, "Secrets"),
            [{"Name": "DYNAMODB_PROCESSOR_LOG_FORMAT", "ValueFrom": "x"}],
            "log_format is no secret",
        ),
        (("Parameters", "StopTimeout", "Default"), 27, "StopTimeout is 27; the server needs 28"),
        (("Parameters", "DrainGrace", "Default"), 80, "StopTimeout is 30; the server needs 88"),
        (("Parameters", "StopTimeout", "Default"), 121, "Fargate waits 120 at most"),
    ],
)
def test_a_fault_of_the_settings_is_found(
    service: Template, path: tuple[str | int, ...], fault: Any, finding: str
) -> None:
    """A setting that the server does not have, refuses, or shows to everybody is a finding."""
    changed = planted(service, path, fault)
    assert finding in "\n".join(cfn_service.check_settings(changed, parameter_files()))
