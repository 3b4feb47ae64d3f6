"""The values in deploy/cloudformation work with the real server and a real table."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import yaml
from cfn_service import image_settings
from cfn_template import FOLDER, Template, load, resources
from grpc_health.v1 import health_pb2

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from tests.support.access import ApiKey, keys_file, token_keys
from tests.support.channels import open_caller
from tests.support.dynamodb import open_client
from tests.support.processes import ServerProcess, clean_environment, start_command
from tests.support.redis_server import RedisServer
from tests.support.secrets_manager import ENDPOINT, SecretsManagerServer

KEY: Final = ApiKey("reader")
_MOUNTED: Final = "/etc/dynamodb-processor"
# Those that CreateTable does not know, or that DynamoDB Local has not.
_OTHERS: Final = (
    "DeletionProtectionEnabled",
    "PointInTimeRecoverySpecification",
    "SSESpecification",
    "Tags",
    "TimeToLiveSpecification",
)


@pytest.fixture(scope="module")
def templates() -> dict[str, Template]:
    """Every template."""
    return load()


@pytest.fixture
def table(dynamodb_local: str, templates: dict[str, Template]) -> Iterator[str]:
    """The name of the example table, which is made as the template says."""
    ((_, resource),) = resources(templates["data"], "AWS::DynamoDB::Table")
    name = templates["data"]["Parameters"]["TableName"]["Default"]
    definition = resource["Properties"] | {"TableName": name}
    definition["StreamSpecification"] = definition["StreamSpecification"] | {"StreamEnabled": True}
    client = open_client(dynamodb_local)
    client.create_table(**{key: definition[key] for key in definition if key not in _OTHERS})
    yield name
    client.delete_table(TableName=name)
    client.close()


def containers(templates: dict[str, Template]) -> dict[str, dict[str, Any]]:
    """Return the containers of the task by their names."""
    ((_, task),) = resources(templates["service"], "AWS::ECS::TaskDefinition")
    return {each["Name"]: each for each in task["Properties"]["ContainerDefinitions"]}


async def test_the_load_balancer_finds_a_healthy_target(
    service: ServerProcess, templates: dict[str, Template]
) -> None:
    """A call without a message to the health path, as load balancers make it, has the code."""
    ((_, group),) = resources(templates["service"], "AWS::ElasticLoadBalancingV2::TargetGroup")
    async with grpc.aio.insecure_channel(service.address) as channel:
        method: Any = channel.unary_unary(group["Properties"]["HealthCheckPath"])
        call = method(b"")
        answer = health_pb2.HealthCheckResponse.FromString(await call)
        code = (await call.code()).value[0]
    assert str(code) == group["Properties"]["Matcher"]["GrpcCode"]
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_example_catalog_serves_the_example_table(
    table: str, dynamodb_local: str, tmp_path: Path
) -> None:
    """`config` accepts both, and has no index to note."""
    keys = tmp_path / "keys.yaml"
    keys.write_text(yaml.safe_dump(keys_file(KEY)), "utf-8")
    command = [sys.executable, "-m", "dynamodb_processor_server", "config"]
    command += ["--catalog", str(FOLDER / "catalog.yaml"), "--keys", str(keys)]
    command += ["--endpoint-url", dynamodb_local, "--single-replica"]
    done = subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok, key user_id, occurred_at, 2 indexes" in done.stdout
    assert f"table {table}: index" not in done.stdout


def write_files(container: Mapping[str, Any], folder: Path, catalog: str) -> None:
    """Run the first container's command, with another folder for the file."""
    (script,) = container["Command"]
    command = [*container["EntryPoint"], script.replace(_MOUNTED, str(folder))]
    subprocess.run(command, env={"CATALOG": catalog}, check=True)


@pytest.fixture
def task(
    table: str,
    templates: dict[str, Template],
    dynamodb_local: str,
    own_redis: RedisServer,
    secrets_manager: SecretsManagerServer,
    tmp_path: Path,
) -> Iterator[ServerProcess]:
    """The two containers of the task, one after the other; the server serves the example table.

    Its environment is that of the task, except for addresses, and for values that only AWS knows.
    """
    catalog = (FOLDER / "catalog.yaml").read_text("utf-8")
    write_files(containers(templates)["files"], tmp_path, catalog)
    secrets = {
        "KEYS": yaml.safe_dump(keys_file(KEY)),
        "TOKEN_KEYS": token_keys("task"),
        "REDIS_URL": own_redis.url,
    }
    arns = {
        name: secrets_manager.create(f"{tmp_path}/{name}", text) for name, text in secrets.items()
    }
    container = containers(templates)["server"]
    environment = {
        entry["Name"]: entry["Value"].replace(_MOUNTED, str(tmp_path))
        for entry in container["Environment"]
        if isinstance(entry["Value"], str)
    }
    image = {f"DYNAMODB_PROCESSOR_{name.upper()}": v for name, v in image_settings().items()}
    environment = image | environment
    environment |= {
        "DYNAMODB_PROCESSOR_HEALTH_LISTEN": "",
        "DYNAMODB_PROCESSOR_LISTEN": "127.0.0.1:0",
        "DYNAMODB_PROCESSOR_METRICS_LISTEN": "127.0.0.1:0",
        "DYNAMODB_PROCESSOR_ENDPOINT_URL": dynamodb_local,
        ENDPOINT: secrets_manager.url,
    }
    imported = {entry["Name"] for entry in container["Environment"] if "_SECRET" in entry["Name"]}
    given = {f"DYNAMODB_PROCESSOR_{name}_SECRET": arn for name, arn in arns.items()}
    assert imported == given.keys()
    environment |= given
    server = start_command(container["Command"], env=environment, cwd=tmp_path)
    try:
        server.address = str(server.wait_for_event("serving")["address"])
        yield server
    finally:
        server.stop()


async def test_the_task_serves_the_example_table(
    task: ServerProcess, templates: dict[str, Template]
) -> None:
    """The container becomes healthy, and a query of an index of the example table is answered."""
    kind, program, *arguments = containers(templates)["server"]["HealthCheck"]["Command"]
    assert (kind, program) == ("CMD", "dynamodb-processor")
    arguments[-1] = task.address
    command = [sys.executable, "-m", "dynamodb_processor_server", *arguments, "--wait", "30"]
    health = await asyncio.to_thread(subprocess.run, command, env=clean_environment(), check=False)
    assert health.returncode == 0
    async with open_caller(task.address, KEY.text) as caller:
        spec = QuerySpec(table="audit_events", expression="system_id = 'crm'")
        answer = await caller.query(QueryRequest(query=spec))
    assert list(answer.items) == []
    assert answer.stats.index_used == "by_system"


def test_the_catalog_arrives_unchanged(tmp_path: Path, templates: dict[str, Template]) -> None:
    """The first container writes it byte by byte, up to the size of a secret."""
    catalog = "# 100 % \\n \"quoted\" 'text' $HOME `x`\n" + "ü" * 32_000 + "\n"
    write_files(containers(templates)["files"], tmp_path, catalog)
    assert (tmp_path / "catalog.yaml").read_text("utf-8") == catalog
    assert (tmp_path / "catalog.yaml").stat().st_mode & 0o444 == 0o444
