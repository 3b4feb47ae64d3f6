"""Tests of `dynamodb-processor catalog init`, on DynamoDB Local and with denied operations."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
import yaml

from dynamodb_processor_server.__main__ import main
from dynamodb_processor_server.catalog.config import CatalogConfig, TableConfig
from dynamodb_processor_server.config_files import ConfigDocument
from tests.support.backends import REGION
from tests.support.datasets import Index, Schema
from tests.support.denying import denying
from tests.support.dynamodb import create_table, open_client
from tests.support.processes import ServerProcess
from tests.support.running import make_key

_TYPES: Final = {"order_id": "S", "status": "S", "placed_at": "S"}
_INDEX: Final = Index("by_status", False, ("status",), ("placed_at",))


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Undo the logging configuration of the command, which runs in this process."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@dataclass(frozen=True, slots=True)
class Orders:
    """A table of orders, and a client to write to it."""

    name: str
    client: Any
    endpoint_url: str

    @property
    def flags(self) -> list[str]:
        """The flags that name the DynamoDB of the table."""
        return [f"--endpoint-url={self.endpoint_url}", f"--region={REGION}"]


@pytest.fixture
def orders(dynamodb_local: str) -> Iterator[Orders]:
    """Three orders, in a table with an index that has a sort key."""
    name = f"orders-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    create_table(client, Schema(name, "order_id", None, (_INDEX,), _TYPES))
    for number in range(3):
        item = {
            "order_id": {"S": f"ORDER#{number}"},
            "status": {"S": "open"},
            "placed_at": {"S": f"2026-01-0{number + 1}T08:00:00Z"},
            "odd\nname": {"BOOL": True},
        }
        client.put_item(TableName=name, Item=item)
    yield Orders(name, client, dynamodb_local)
    client.delete_table(TableName=name)
    client.close()


def init(*arguments: str) -> int:
    """Run the command and return its exit code."""
    return main(["catalog", "init", *arguments])


def config_of(text: str, name: str) -> TableConfig:
    """Return the configuration of a table in a catalog's text, as the server would read it."""
    return ConfigDocument(Path("c"), text.encode()).parse(CatalogConfig).tables[name]


def confirmed(text: str) -> str:
    """Return a catalog with every proposal in force, as its header instructs."""
    return re.sub(r"^( *)#(?=\S)", r"\1", text, flags=re.MULTILINE)


def test_it_writes_facts_and_proposals(orders: Orders, capsys: pytest.CaptureFixture[str]) -> None:
    """The file loads unchanged and with every proposal; comments have the facts and the cost."""
    assert init(*orders.flags, "--table", orders.name) == 0
    output = capsys.readouterr()
    assert config_of(output.out, orders.name) == TableConfig(table=orders.name)
    found = config_of(confirmed(output.out), orders.name)
    assert found.required == ("placed_at",)
    assert found.timestamps == {"placed_at": "iso8601"}
    assert found.keys == {"order_id": "ORDER#{order}"}
    for words in (
        f"from {REGION} at {orders.endpoint_url}.",
        "Key: order_id (string).",
        "Some 3 items in ",
        "Global index by_status: status (string), placed_at (string); holds all attributes.",
        "Sample: the first 3 items of a scan, for 0.5 read units.",
    ):
        assert words in output.out
    assert f"--table '{orders.name}' --append keys.yaml" in output.err


def test_the_catalog_serves_a_first_answer(
    orders: Orders, tmp_path: Path, serve: Callable[..., ServerProcess]
) -> None:
    """A server starts with the written file."""
    path = tmp_path / "catalog.yaml"
    assert init(*orders.flags, f"--table={orders.name}", f"--output={path}") == 0
    key = make_key("first")
    server = serve(path.read_text(), {"keys": [dict(key.entry)]}, args=[f"--region={REGION}"])
    assert server.address


def test_items_that_an_index_leaves_out_are_reported(
    orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    """`sparse: allow` is proposed instead of `required`, with the number of such items."""
    orders.client.put_item(TableName=orders.name, Item={"order_id": {"S": "x"}})
    assert init(*orders.flags, "--table", orders.name) == 0
    text = capsys.readouterr().out
    assert "by_status leaves out 1 of 4 sampled items: they have no valid placed_at." in text
    assert "#required" not in text
    assert config_of(confirmed(text), orders.name).sparse == "allow"


def test_the_sample_is_bounded_and_can_be_left_out(
    orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a sample nothing is proposed."""
    assert init(*orders.flags, "--table", orders.name, "--sample=2") == 0
    assert "the first 2 items" in capsys.readouterr().out
    assert init(*orders.flags, "--table", orders.name, "--sample=0") == 0
    text = capsys.readouterr().out
    assert "Sampled: 0 items in all, for 0 read units." in text
    assert confirmed(text) == text


def test_time_to_live_is_asked_of_dynamodb(
    orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a fact, so it is in force; hiding expired items is a proposal."""
    orders.client.update_time_to_live(
        TableName=orders.name,
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "gone_at"},
    )
    assert init(*orders.flags, "--table", orders.name) == 0
    text = capsys.readouterr().out
    assert config_of(text, orders.name).time_to_live == "gone_at"
    assert config_of(confirmed(text), orders.name).hide_expired


def test_patterns_choose_tables(orders: Orders, capsys: pytest.CaptureFixture[str]) -> None:
    """A table has to match one of the patterns; patterns that match no table are an error."""
    assert init(*orders.flags, "--table", f"{orders.name[:-1]}?", "--table", "none-*") == 0
    assert list(yaml.safe_load(capsys.readouterr().out)["tables"]) == [orders.name]
    assert init(*orders.flags, "--table", "none-*") == 2
    assert "no table matches none-*: of " in capsys.readouterr().err


def test_tables_of_other_accounts_are_named_by_their_arn(
    orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ARN has the region, and callers use the name; patterns may stand beside it."""
    arn = f"arn:aws:dynamodb:eu-central-1:123456789012:table/{orders.name}"
    for more in ([], ["--table", "none-*"]):
        assert init(orders.flags[0], f"--region={REGION}", "--table", arn, *more) == 0
        output = capsys.readouterr()
        assert config_of(output.out, orders.name) == TableConfig(table=arn)
        assert config_of(output.out, orders.name).region == "eu-central-1"
        assert f"from eu-central-1 at {orders.endpoint_url}." in output.out
        assert f"--table '{orders.name}' --append keys.yaml" in output.err


def test_two_tables_of_one_name_need_two_catalogs(
    orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one catalog they would have one name for callers."""
    arn = f"arn:aws:dynamodb:eu-central-1:123456789012:table/{orders.name}"
    assert init(*orders.flags, "--table", arn, "--table", orders.name) == 2
    assert f"two tables are called {orders.name}" in capsys.readouterr().err
    assert init(*orders.flags, "--table", arn, "--table", f"{orders.name}*") == 2
    assert f"two tables are called {orders.name}" in capsys.readouterr().err


def test_a_file_is_replaced_only_by_force(
    orders: Orders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that the operator wrote is not lost."""
    path = tmp_path / "catalog.yaml"
    path.write_text("mine")
    arguments = (*orders.flags, "--table", orders.name, f"--output={path}")
    assert init(*arguments) == 2
    assert capsys.readouterr().err == f"{path}: exists already; --force replaces it\n"
    assert path.read_text() == "mine"
    assert init(*arguments, "--force") == 0
    assert orders.name in path.read_text()


def test_a_file_that_cannot_be_written_is_an_error(
    orders: Orders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error has the system's reason, and there is no traceback."""
    path = tmp_path / "absent" / "catalog.yaml"
    assert init(*orders.flags, "--table", orders.name, f"--output={path}") == 2
    assert f"{path}: cannot be written: No such file or directory" in capsys.readouterr().err


def test_a_missing_setup_is_reported_with_the_remedy(
    orders: Orders, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error tells a missing region, credentials, endpoint or table apart."""
    assert init(orders.flags[0], f"--region={REGION}", "--table", "nowhere") == 2
    assert capsys.readouterr().err == "table nowhere does not exist\n"
    assert init("--endpoint-url=http://127.0.0.1:9", f"--region={REGION}") == 2
    reported = capsys.readouterr().err
    assert f"DynamoDB in {REGION} at http://127.0.0.1:9 did not answer ListTables" in reported
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert init(orders.flags[0]) == 2
    assert "no AWS region is set: give --region, AWS_REGION or" in capsys.readouterr().err
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert init(*orders.flags) == 2
    reported = capsys.readouterr().err
    assert reported.startswith("no AWS credentials were found: set AWS_ACCESS_KEY_ID")
    assert len(reported.splitlines()) == 1


def test_without_leave_to_list_tables_they_are_named(
    orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error asks for the tables' names; a named table needs no ListTables."""
    with denying(orders.endpoint_url, "ListTables") as url:
        flags = [f"--endpoint-url={url}", f"--region={REGION}"]
        assert init(*flags) == 2
        assert capsys.readouterr().err == (
            "the credentials do not allow dynamodb:ListTables; name the tables with --table NAME, "
            "without * ? [\n"
        )
        assert init(*flags, "--table", orders.name) == 0
        assert orders.name in capsys.readouterr().out


def test_denied_facts_of_a_table_become_a_comment(
    orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys and indexes are written without a sample and without time to live."""
    with denying(orders.endpoint_url, "Scan", "DescribeTimeToLive") as url:
        flags = [f"--endpoint-url={url}", f"--region={REGION}"]
        assert init(*flags, "--table", orders.name) == 0
    text = capsys.readouterr().out
    assert "# No sample: the credentials do not allow dynamodb:Scan." in text
    assert (
        "# time_to_live is not known: the credentials do not allow dynamodb:DescribeTimeToLive."
        in text
    )
    assert config_of(confirmed(text), orders.name) == TableConfig(table=orders.name)


def test_a_table_that_is_being_deleted_is_a_comment(
    orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are written, and the exit code says that one was left out."""
    create_table(orders.client, Schema(f"{orders.name}-2", "id", None, (), {"id": "S"}))
    try:
        with denying(orders.endpoint_url, deleting=orders.name) as url:
            flags = [f"--endpoint-url={url}", f"--region={REGION}"]
            assert init(*flags, "--table", f"{orders.name}*") == 1
    finally:
        orders.client.delete_table(TableName=f"{orders.name}-2")
    text = capsys.readouterr().out
    assert f"# {orders.name}: is DELETING, and left out" in text
    assert config_of(text, f"{orders.name}-2") == TableConfig(table=f"{orders.name}-2")


def test_a_table_that_may_not_be_described_is_a_comment(
    orders: Orders, capsys: pytest.CaptureFixture[str]
) -> None:
    """A policy may leave out one of many tables; if it is the only one, that is an error."""
    other = f"{orders.name}-2"
    reason = f"{orders.name}: is not described: the credentials do not allow dynamodb:DescribeTable"
    create_table(orders.client, Schema(other, "id", None, (), {"id": "S"}))
    try:
        with denying(orders.endpoint_url, closed=orders.name) as url:
            flags = [f"--endpoint-url={url}", f"--region={REGION}"]
            assert init(*flags, "--table", f"{orders.name}*") == 1
            text = capsys.readouterr().out
            assert init(*flags, "--table", orders.name) == 2
            assert "dynamodb:DescribeTable" in capsys.readouterr().err
    finally:
        orders.client.delete_table(TableName=other)
    assert f"# {reason}" in text
    assert config_of(text, other) == TableConfig(table=other)
