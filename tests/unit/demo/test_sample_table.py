"""Tests of the definition of a sample table."""

from __future__ import annotations

from pathlib import Path

import yaml

from dynamodb_processor_server.catalog.config import CatalogConfig
from dynamodb_processor_server.config_files import ConfigDocument
from dynamodb_processor_server.demo.sample_table import SampleKey, SampleTable

TABLE = SampleTable(
    name="some_things",
    description="Things",
    key=SampleKey("p", "s"),
    indexes={"by_q": SampleKey("q", "s")},
    required=("s",),
    items=(
        {"p": "1", "s": "b", "q": "x"},
        {"p": "1", "s": "a", "q": "y"},
        {"p": "2", "s": "c"},
    ),
)


def test_partition_holds_its_items_by_sort_key() -> None:
    """The items of one partition come in the order of a query."""
    assert [item["s"] for item in TABLE.partition("1")] == ["a", "b"]
    assert [item["s"] for item in TABLE.partition("x", "by_q")] == ["b"]
    assert list(TABLE.partition("3")) == []


def test_index_holds_only_items_with_its_key() -> None:
    """Indexes of DynamoDB are sparse."""
    assert (TABLE.count(), TABLE.count("by_q")) == (3, 2)


def test_declaration_is_an_entry_of_a_catalog() -> None:
    """The server reads it as it reads an operator's catalog."""
    content = yaml.safe_dump({"tables": {TABLE.name: TABLE.declaration()}}).encode()
    catalog = ConfigDocument(Path("catalog.yaml"), content).parse(CatalogConfig)
    entry = catalog.tables["some_things"]
    assert entry.table == "dynamodb-processor-demo-some-things"
    assert entry.required == ("s",)
