"""The build of the gateway: its options, its rules, its files, and the pages that describe them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from google.api.annotations_pb2 import http
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import code_pb2

from gateway.command import arguments_parser, main
from gateway.errors import REFUSALS
from gateway.rules import RULES_FILE, RuleError, load_rules
from gateway.schema import SchemaError, filter_source
from tests.support.documentation import ROOT

_UPSTREAM: Final = ["--upstream", "127.0.0.1:50051"]


def test_the_build_writes_a_configuration_and_descriptors(tmp_path: Path) -> None:
    """The command of the documentation writes both, and the descriptors have the HTTP routes."""
    command = [sys.executable, "deploy/envoy/build", *_UPSTREAM, "--out", str(tmp_path / "out")]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert f"envoy --config-path {tmp_path / 'out' / 'envoy.yaml'}" in printed
    config = yaml.safe_load((tmp_path / "out" / "envoy.yaml").read_text(encoding="utf-8"))
    assert config["static_resources"]["clusters"][0]["name"] == "service"
    content = (tmp_path / "out" / "descriptors.binpb").read_bytes()
    files = {file.name: file for file in FileDescriptorSet.FromString(content).file}
    assert {"google/rpc/error_details.proto", "google/api/annotations.proto"} <= files.keys()
    catalog = files["dynamodb_processor/v1/catalog_service.proto"].service[0]
    routes = {method.name: method.options.Extensions[http].get for method in catalog.method}
    assert routes == {"ListTables": "/v1/tables", "GetTable": "/v1/tables/{table}"}


def test_two_builds_are_equal(tmp_path: Path) -> None:
    """A change of the configuration is always a change of its sources."""
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        assert main([*_UPSTREAM, "--out", str(folder)]) == 0
    for name in ("envoy.yaml", "descriptors.binpb"):
        first, second = ((folder / name).read_bytes() for folder in folders)
        assert first == second


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ([], "--upstream"),
        (["--upstream", "50051"], "--upstream: '50051' is not HOST:PORT"),
        ([*_UPSTREAM, "--listen", "127.0.0.1:0"], "--listen: '127.0.0.1:0' is not HOST:PORT"),
        ([*_UPSTREAM, "--listen", "127.0.0.1:65536"], "--listen: '127.0.0.1:65536' is not"),
        ([*_UPSTREAM, "--admin", "x"], "--admin: 'x' is not HOST:PORT"),
        ([*_UPSTREAM, "--allow-origin", "*"], "--allow-origin: '*' is not an origin, such as http"),
        ([*_UPSTREAM, "--allow-origin", "https://a.example/"], "is not an origin"),
        ([*_UPSTREAM, "--tls-cert", "a.pem"], "--tls-cert and --tls-key: both are needed"),
        ([*_UPSTREAM, "--admin", "0.0.0.0:9901"], "--admin: 0.0.0.0:9901 is not a loopback"),
    ],
)
def test_a_wrong_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], error: str
) -> None:
    """The command ends with 2, names the option, and writes nothing."""
    with pytest.raises(SystemExit) as ended:
        main([*options, "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert error in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def _changed(tmp_path: Path, name: str, **change: Any) -> Path:
    """Return a file of rules in which that of one method is changed; None removes an entry."""
    rules = yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))
    for rule in rules["http"]["rules"]:
        if rule["selector"].endswith(f".{name}"):
            rule.update(change)
            for key in [key for key, value in change.items() if value is None]:
                del rule[key]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rules), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("name", "change", "error"),
    [
        ("Query", {"selector": "x.Y.Z"}, "x.Y.Z: is not a method of the contract"),
        ("Query", {"body": None}, "POST needs a body, and GET has none"),
        ("Query", {"body": "query"}, '`body` is "*" or absent'),
        ("Query", {"get": "/v1/x"}, "needs `get` or `post`"),
        ("Query", {"additional_bindings": []}, "may have `body`, and nothing else"),
        ("Query", {"post": "/v1/{query.name}"}, "QuerySpec has no field name"),
        ("Query", {"post": "/v1/{page_size}"}, "page_size is not text"),
        ("Query", {"post": "/v1/{query.parameters.value}"}, "is not a single message"),
        ("Query", {"post": "/v1/**"}, "is not a path that the gateway can match"),
        ("Query", {"post": "/v1/tables/{query.table}:stream"}, "two methods have the same route"),
        ("ListTables", {"selector": "dynamodb_processor.v1.CacheService.GetCacheStats"},
         "dynamodb_processor.v1.CatalogService.ListTables: has 0 rules, needs one"),
    ],
)  # fmt: skip
def test_a_rule_that_does_not_fit(
    tmp_path: Path, name: str, change: dict[str, Any], error: str
) -> None:
    """The build fails with the method and the reason, and never makes a route that cannot work."""
    with pytest.raises(RuleError, match=re.escape(error)):
        load_rules(_changed(tmp_path, name, **change))


def test_the_check_knows_every_field_of_requests() -> None:
    """The filter has each field under both names; a type that it does not know fails the build."""
    source = filter_source(load_rules())
    for name in ("max_items", "maxItems", "partition_key", "partitionKey", "bs"):
        assert f'"{name}"' in source
    assert "function envoy_on_request" in source
    assert issubclass(SchemaError, Exception)


def test_the_page_of_errors_has_every_refusal() -> None:
    """Reason, HTTP status and gRPC status are those that the gateway sends."""
    page = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    _, _, rest = page.partition("\n## Reasons of the gateway\n")
    section = re.split(r"\n## ", rest, maxsplit=1)[0]
    rows = re.findall(r"^\| `([A-Z_]+)` \| (\d+), `([A-Z_]+)` \|", section, re.MULTILINE)
    sent = {
        (refusal.reason, str(refusal.http), code_pb2.Code.Name(refusal.code))
        for refusal in REFUSALS.values()
    }
    shared = {"INVALID_REQUEST", "INTERNAL"}  # They mean what they mean in the server's own errors.
    assert set(rows) == {entry for entry in sent if entry[0] not in shared}
    assert all(f"`{reason}`" in section for reason in shared)
    assert all(json.dumps(refusal.body).isascii() for refusal in REFUSALS.values())


def test_the_page_of_operators_has_every_option() -> None:
    """The table of options is complete."""
    page = (ROOT / "docs/operations/gateway.md").read_text(encoding="utf-8")
    options = re.findall(r"--[a-z-]+", arguments_parser().format_help())
    missing = {option for option in options if f"`{option}" not in page} - {"--help"}
    assert not missing
