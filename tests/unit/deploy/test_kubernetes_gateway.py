"""The manifest of the gateway fits the configuration that its documentation builds."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pytest
import yaml
from kubernetes_objects import FOLDER, Objects, parse

from gateway.command import arguments_parser, main, options_of
from gateway.options import Options
from tests.support.documentation import code_blocks

_PAGE: Final = "docs/operations/gateway.md"
_NAMESPACE: Final = "dynamodb-processor-production"


@pytest.fixture(scope="module")
def objects() -> Objects:
    """The objects of the manifest."""
    return parse((FOLDER / "gateway.yaml").read_text("utf-8"))


@pytest.fixture(scope="module")
def arguments() -> argparse.Namespace:
    """The arguments of the command on the page."""
    (block,) = (each for each in code_blocks(_PAGE, "console") if "NAMESPACE=" in each)
    command = block.replace("\\\n", " ").replace("$NAMESPACE", _NAMESPACE)
    (line,) = (each for each in command.splitlines() if "envoy/build" in each)
    return arguments_parser().parse_args(shlex.split(line)[2:])


@pytest.fixture(scope="module")
def options(arguments: argparse.Namespace) -> Options:
    """The options of that command."""
    return options_of(arguments)


def _pod(objects: Objects) -> dict[str, Any]:
    (deployment,) = objects.of("Deployment")
    return dict(deployment["spec"]["template"])


def test_envoy_listens_on_the_port_of_the_service(objects: Objects, options: Options) -> None:
    """Port, Service, probes and network policy mean the same listener."""
    (container,) = _pod(objects)["spec"]["containers"]
    (port,) = container["ports"]
    assert options.listen.port == port["containerPort"]
    (service,) = objects.of("Service")
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert container["readinessProbe"]["httpGet"]["port"] == port["name"]
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    (policy,) = objects.of("NetworkPolicy")
    assert policy["spec"]["ingress"] == [{"ports": [{"port": port["containerPort"]}]}]


def test_files_are_in_the_mounted_volumes(
    objects: Objects, arguments: argparse.Namespace, options: Options
) -> None:
    """Each file that Envoy reads lies in a folder that is mounted."""
    (container,) = _pod(objects)["spec"]["containers"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    named = [options.certificate_file, arguments.tls_cert, arguments.tls_key, arguments.upstream_ca]
    files = [str(file) for file in named] + [container["args"][1]]
    assert {str(PurePosixPath(file).parent) for file in files} == mounted


def test_the_servers_let_the_gateway_call(objects: Objects, options: Options) -> None:
    """Its pods have the label of clients, and its servers are those of the headless Service."""
    policy = yaml.safe_load((FOLDER / "base" / "network-policy.yaml").read_text("utf-8"))
    (peer,) = policy["spec"]["ingress"][0]["from"]
    labels = _pod(objects)["metadata"]["labels"].items()
    assert peer["podSelector"]["matchLabels"].items() <= labels
    _, headless = parse((FOLDER / "base" / "services.yaml").read_text("utf-8")).of("Service")
    (upstream,) = options.upstreams
    assert upstream.host == f"{headless['metadata']['name']}.{_NAMESPACE}"
    assert upstream.port == headless["spec"]["ports"][0]["port"]
    (outward,) = objects.of("NetworkPolicy")
    to_servers = outward["spec"]["egress"][-1]
    assert to_servers["to"][0]["podSelector"] == policy["spec"]["podSelector"]
    assert to_servers["ports"] == [{"port": upstream.port}]


def test_the_build_names_the_mounted_folder(tmp_path: Path) -> None:
    """The configuration means the mounted file of the certificate, written beside it here."""
    tls = ("--tls-cert", "/etc/envoy/tls/tls.crt", "--tls-key", "/etc/envoy/tls/tls.key")
    folders = ("--out", str(tmp_path), "--mounted-at", "/etc/envoy/config")
    assert main(["--upstream", "server:50051", *tls, *folders]) == 0
    assert "path: /etc/envoy/config/certificate.yaml" in (tmp_path / "envoy.yaml").read_text(
        "utf-8"
    )
    assert "/etc/envoy/tls/tls.crt" in (tmp_path / "certificate.yaml").read_text("utf-8")
