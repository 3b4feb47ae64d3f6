"""Schemas parsed from DescribeTable results: keys, access paths, and their projections."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dynamodb_processor_server.catalog.description import parse_description
from dynamodb_processor_server.catalog.schema import (
    BASE_TABLE,
    AccessPath,
    KeyAttribute,
    KeySchema,
    PathKind,
)
from tests.unit.catalog.addresses import ADDRESSES
from tests.unit.query.tables import describe, make_schema, make_table


def test_the_base_table_is_a_path() -> None:
    """The base table comes first, holds all attributes, and has a label of its own."""
    schema = make_schema()
    assert schema.name == "audit-events"
    assert schema.base == AccessPath(
        index=None,
        kind=PathKind.TABLE,
        key=KeySchema((KeyAttribute("tenant_id", "S"),), (KeyAttribute("event_id", "S"),)),
        projected=None,
        cursor_attributes=("tenant_id", "event_id"),
    )
    assert schema.base.label == BASE_TABLE
    assert schema.path(BASE_TABLE) is schema.base
    assert schema.base.key.attributes == (*schema.base.key.partition, *schema.base.key.sort)


def test_a_local_index_shares_the_partition() -> None:
    """Its cursor needs the table's sort key too; KEYS_ONLY holds both keys."""
    path = make_schema().path("by_time")
    assert path is not None
    assert path.kind is PathKind.LOCAL
    assert path.cursor_attributes == ("tenant_id", "occurred_at", "event_id")
    assert path.projected == frozenset({"tenant_id", "occurred_at", "event_id"})
    assert path.label == "by_time"


def test_a_global_index_has_keys_of_its_own() -> None:
    """Its cursor has its own key and the table's; ALL holds all attributes."""
    path = make_schema().path("by_user")
    assert path is not None
    assert path.kind is PathKind.GLOBAL
    assert path.cursor_attributes == ("user_id", "occurred_at", "tenant_id", "event_id")
    assert path.projected is None


def test_keys_may_have_several_attributes() -> None:
    """A global index has up to four of each kind; INCLUDE holds each named attribute once."""
    schema = make_schema(ADDRESSES)
    assert schema.base.key.sort == ()
    path, city = schema.path("by_place"), schema.path("by_city")
    assert path is not None
    assert [attribute.name for attribute in path.key.partition] == ["country", "city"]
    assert path.key.sort == (KeyAttribute("street", "S"), KeyAttribute("number", "N"))
    assert path.cursor_attributes == ("country", "city", "street", "number", "id")
    assert city is not None
    assert city.projected == frozenset({"city", "id", "name"})
    assert city.cursor_attributes == ("city", "id")


def test_an_index_that_is_deleted_needs_no_types() -> None:
    """DynamoDB Local leaves out types of its attributes; its templates stay valid meanwhile."""
    description: dict[str, Any] = describe(ADDRESSES)
    description["GlobalSecondaryIndexes"][0]["IndexStatus"] = "DELETING"
    description["AttributeDefinitions"] = [
        one for one in description["AttributeDefinitions"] if one["AttributeName"] != "street"
    ]
    schema = parse_description(description)
    (path,) = schema.unreadable
    assert {a.name: a.type for a in path.key.attributes}["street"] == ""
    assert path.key.sort[0].may_have_type("S")
    assert not path.key.sort[0].may_have_type("BOOL")
    assert schema.skipped == ("by_place: its status is DELETING",)
    table = replace(make_table(ADDRESSES, keys={"street": "ST#{road}"}), schema=schema)
    assert table.schema_conflicts == []


def test_indexes_that_are_being_created_have_templates_too() -> None:
    """The key of such an index has the logical fields too, because writes already change it."""
    description: dict[str, Any] = describe(ADDRESSES)
    description["GlobalSecondaryIndexes"][0]["IndexStatus"] = "CREATING"
    configured = make_table(ADDRESSES, keys={"country": "C#{land}"})
    table = replace(configured, schema=parse_description(description))
    (path,) = table.schema.unreadable
    assert path.key.partition[0].fields == ("land",)


def test_an_unknown_label_names_no_path() -> None:
    """The empty label names no path either."""
    schema = make_schema()
    assert schema.path("by_moon") is None
    assert schema.path("") is None


def test_the_types_of_all_keys_are_known() -> None:
    """The types are those of the table's key and of every index's key."""
    assert make_schema(ADDRESSES).key_types == ADDRESSES.types


def test_a_table_shows_the_configured_attributes() -> None:
    """It shows all attributes if the configuration lists none."""
    assert make_table().may_show("anything")
    listed = make_table(attributes=["tenant_id", "title"])
    assert listed.may_show("title")
    assert not listed.may_show("event_id")


def test_a_table_is_restricted_to_the_granted_attributes() -> None:
    """It keeps the operator's order of attributes, and the indexes whose keys may be seen."""
    table = make_table(
        ADDRESSES, attributes=["id", "city", "name", "country"], required=["city", "id"]
    )
    restricted = table.restricted_to(frozenset({"city", "id", "unknown"}), frozenset())
    assert restricted.config.attributes == ("id", "city")
    assert restricted.config.required == ("city", "id")
    assert [path.label for path in restricted.schema.paths] == ["@table", "by_city"]
    assert not restricted.may_show("name")
    assert restricted.schema.path("by_place") is None
    assert "street" not in restricted.schema.key_types


def test_attributes_that_the_catalog_hides_hide_indexes() -> None:
    """An index's order would reveal hidden values; the base table stays with any key."""
    table = make_table(ADDRESSES, attributes=["name"]).restricted_to(None, frozenset())
    assert [path.label for path in table.schema.paths] == ["@table"]
    assert not table.may_show_path(table.schema.base)


def test_an_index_may_have_fixed_attributes_unseen() -> None:
    """A hidden attribute with a fixed value for the caller does not hide an index."""
    hidden = frozenset({"country"})
    table = make_table(ADDRESSES).restricted_to(frozenset({"city", "street", "number"}), hidden)
    assert [path.label for path in table.schema.paths] == ["@table", "by_city", "by_place"]
    assert not table.may_show("country")


def test_a_grant_of_everything_leaves_a_table_as_it_is() -> None:
    """A grant of no visible attribute shows nothing, rather than everything."""
    table = make_table(ADDRESSES)
    assert table.restricted_to(None, frozenset()) is table
    nothing = make_table(ADDRESSES, attributes=["name"]).restricted_to(
        frozenset({"id"}), frozenset()
    )
    assert nothing.config.attributes == ()
    assert not nothing.may_show("id")
    assert not nothing.may_show("name")


@pytest.mark.parametrize(
    ("fields", "conflicts"),
    [
        ({"keys": {"city": "C#{town}"}, "timestamps": {"number": "epoch_seconds"}}, []),
        (
            {"keys": {"PK": "C#{town}"}},
            ["keys.PK: the table has no such key, or it is no string"],
        ),
        (
            {"keys": {"number": "{n}"}},
            ["keys.number: the table has no such key, or it is no string"],
        ),
        (
            {"keys": {"city": "{country}#{id}"}},
            [
                "keys.city: country is a key of the table itself",
                "keys.city: id is a key of the table itself",
            ],
        ),
        (
            {"timestamps": {"street": "epoch_seconds", "number": "iso8601"}},
            [
                "timestamps.street: epoch_seconds is stored as N, the key is S",
                "timestamps.number: iso8601 is stored as S, the key is N",
            ],
        ),
    ],
)
def test_contradictions_to_a_schema_are_found(fields: dict[str, Any], conflicts: list[str]) -> None:
    """The configuration is compared with the schema once the table has been described."""
    assert make_table(ADDRESSES, **fields).schema_conflicts == conflicts


def test_keys_know_their_templates() -> None:
    """A key also knows whether another key may give its fields another value."""
    keys = {"country": "{land}", "city": "{land}#{town}", "street": "{road}"}
    table = make_table(ADDRESSES, keys=keys)
    path = table.schema.path("by_place")
    assert path is not None
    found = {a.name: (a.fields, a.is_decisive) for a in path.key.attributes}
    assert found == {
        "country": (("land",), True),
        "city": (("land", "town"), False),
        "street": (("road",), True),
        "number": (("number",), False),
    }


def test_hidden_keys_are_seen_by_their_fields_only() -> None:
    """A path may be shown if its key may, or all fields of the key."""
    keys = {"country": "{land}", "city": "{town}#{part}"}
    table = make_table(ADDRESSES, keys=keys, expose_keys=False)
    assert [name for name in ("country", "land", "town", "id") if table.may_show(name)] == [
        "land", "town", "id",
    ]  # fmt: skip
    assert all(map(table.may_show_path, table.schema.paths))
    restricted = table.restricted_to(frozenset({"town", "part", "country"}), frozenset())
    assert [path.label for path in restricted.schema.paths] == ["@table", "by_city"]
    assert not restricted.may_show("country")
