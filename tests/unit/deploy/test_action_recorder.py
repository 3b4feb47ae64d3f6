"""Requests of the product are recorded with their IAM action and the role that must allow it."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest

from tests.support.action_recorder.sitecustomize import FOLDER, action_of, caller_of
from tests.support.processes import clean_environment

RECORDER: Final = Path(__file__).parents[2] / "support" / "action_recorder"
SIGNED: Final = "AWS4-HMAC-SHA256 Credential=KEY/20261130/eu-west-1/{}/aws4_request, Signature=x"
SERVER: Final = "dynamodb_processor_server"
# Each request is refused: it is recorded when it is sent.
CALLS: Final = """
import asyncio, contextlib, sys
from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.clients import Clients, ClientSettings
from dynamodb_processor_server.dynamodb.inventory import TableInventory
from dynamodb_processor_server.dynamodb.table_describer import TableDescriber

async def main():
    settings = ClientSettings(endpoint_url=sys.argv[1], region="eu-west-1")
    async with Clients(settings) as clients:
        client = await clients.client()
        backend = Backend(clients)
        for call in (
            client.get_item(TableName="t", Key={"k": {"S": "v"}}),
            client.get_item(TableName="t", Key={"k": {"S": "v"}}),
            TableDescriber(backend).list_names(),
            TableInventory(clients, backend).time_to_live("t"),
            client.describe_table(TableName="t"),
        ):
            with contextlib.suppress(Exception):
                await call

asyncio.run(main())
"""


class _Refusing(BaseHTTPRequestHandler):
    """Refuses every request."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"__type": "x#ValidationException", "message": "no"}'
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    """The URL of a server that refuses every request."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("service", "headers", "body", "action"),
    [
        ("dynamodb", {"X-Amz-Target": "DynamoDB_20120810.Query"}, b"{}", "dynamodb:Query"),
        (
            "dynamodb",
            {"x-amz-target": "DynamoDBStreams_20120810.GetRecords"},
            b"{}",
            "dynamodb:GetRecords",
        ),
        ("sts", {}, b"Action=AssumeRole&Version=2011-06-15", "sts:AssumeRole"),
        ("monitoring", {}, "Action=PutMetricData&Version=1", "cloudwatch:PutMetricData"),
        (
            "monitoring",
            {"Content-Encoding": "gzip"},
            gzip.compress(b"Action=PutMetricData&Version=1"),
            "cloudwatch:PutMetricData",
        ),
        ("s3", {}, None, "s3:unknown"),
    ],
)
def test_the_action_is_in_the_signed_request(
    service: str, headers: dict[str, str], body: object, action: str
) -> None:
    """The service is in the scope of the signature, the operation in a header or in the body."""
    assert action_of(headers | {"Authorization": SIGNED.format(service)}, body) == action


def test_an_unsigned_request_needs_no_action() -> None:
    """Without a signature IAM is not asked, as by the metadata service."""
    assert action_of({"X-Amz-Target": "DynamoDB_20120810.Query"}, b"{}") is None


@pytest.mark.parametrize(
    ("modules", "caller"),
    [
        ((f"{SERVER}.dynamodb.data_plane", f"{SERVER}.dynamodb.reader"), "server"),
        ((f"{SERVER}.dynamodb.data_plane", f"{SERVER}.cli.serve", "__main__"), "server"),
        ((f"{SERVER}.dynamodb.table_describer", f"{SERVER}.cli.config"), "operator"),
        ((f"{SERVER}.dynamodb.inventory", "tests.x"), "operator"),
        ((f"{SERVER}.dynamodb.data_plane", f"{SERVER}.demo.service"), None),
        (("aiobotocore.client", "tests.contract.compared_clients"), None),
    ],
)
def test_the_caller_is_on_the_stack(modules: tuple[str, ...], caller: str | None) -> None:
    """The server, the operator's commands, the demo and the tests themselves are distinguished."""
    assert caller_of(modules) == caller


def test_a_process_records_each_action_once(refusing: str, tmp_path: Path) -> None:
    """Both ways of sending requests are recorded, and a request of the test's own is not."""
    environment = clean_environment({"PYTHONPATH": str(RECORDER), FOLDER: str(tmp_path)})
    done = subprocess.run(
        [sys.executable, "-c", CALLS, refusing],
        env=environment,
        cwd=RECORDER.parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("*.txt")
    assert file.read_text("utf-8").splitlines() == [
        "server dynamodb:GetItem",
        "server dynamodb:ListTables",
        "operator dynamodb:DescribeTimeToLive",
    ]


def test_a_process_without_the_variable_records_nothing(refusing: str, tmp_path: Path) -> None:
    """The recorder is off unless the folder is named."""
    environment = clean_environment({"PYTHONPATH": str(RECORDER)})
    environment.pop(FOLDER, None)
    subprocess.run(
        [sys.executable, "-c", CALLS, refusing],
        env=environment,
        cwd=tmp_path,
        check=True,
        timeout=60,
    )
    assert list(tmp_path.iterdir()) == []
