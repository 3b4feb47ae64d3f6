"""Tables as DescribeTable tells of them: keys, access paths, and what each path holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dynamodb_processor_server.catalog.description import DescriptionError, parse_description
from dynamodb_processor_server.catalog.schema import (
    BASE_TABLE,
    AccessPath,
    KeyAttribute,
    KeySchema,
    PathKind,
)
from tests.support.datasets import Index, Schema
from tests.unit.query.tables import describe, make_schema, make_table

PLACES = Schema(
    "places",
    "id",
    None,
    (
        Index("by_place", False, ("country", "city"), ("street", "number")),
        Index("by_city", False, ("city",), (), "INCLUDE", ("name", "id")),
    ),
    {"id": "B", "country": "S", "city": "S", "street": "S", "number": "N"},
)


def test_the_base_table_is_a_path() -> None:
    """It comes first, holds everything, and is known by its own label."""
    schema = make_schema()
    assert schema.name == "audit-events"
    assert schema.base == AccessPath(
        index=None,
        kind=PathKind.TABLE,
        key=KeySchema((KeyAttribute("tenant_id", "S"),), (KeyAttribute("event_id", "S"),)),
        projected=None,
        position=("tenant_id", "event_id"),
    )
    assert schema.base.label == BASE_TABLE
    assert schema.path(BASE_TABLE) is schema.base
    assert schema.base.key.attributes == (*schema.base.key.partition, *schema.base.key.sort)


def test_a_local_index_shares_the_partition() -> None:
    """Its position needs the table's sort key too; KEYS_ONLY holds both keys."""
    path = make_schema().path("by_time")
    assert path is not None
    assert path.kind is PathKind.LOCAL
    assert path.position == ("tenant_id", "occurred_at", "event_id")
    assert path.projected == frozenset({"tenant_id", "occurred_at", "event_id"})
    assert path.label == "by_time"


def test_a_global_index_has_keys_of_its_own() -> None:
    """Its position is its own key and the table's; ALL holds everything."""
    path = make_schema().path("by_user")
    assert path is not None
    assert path.kind is PathKind.GLOBAL
    assert path.position == ("user_id", "occurred_at", "tenant_id", "event_id")
    assert path.projected is None


def test_keys_may_have_several_attributes() -> None:
    """Up to four of each kind in a global index; INCLUDE holds what is named, once."""
    schema = make_schema(PLACES)
    assert schema.base.key.sort == ()
    place, city = schema.path("by_place"), schema.path("by_city")
    assert place is not None
    assert [attribute.name for attribute in place.key.partition] == ["country", "city"]
    assert place.key.sort == (KeyAttribute("street", "S"), KeyAttribute("number", "N"))
    assert place.position == ("country", "city", "street", "number", "id")
    assert city is not None
    assert city.projected == frozenset({"city", "id", "name"})
    assert city.position == ("city", "id")


def test_paths_have_a_fixed_order() -> None:
    """Base table, local indexes, global indexes, each kind by name: DynamoDB lists them anyhow."""
    description = describe(PLACES)
    description["GlobalSecondaryIndexes"].reverse()
    labels = [path.label for path in parse_description(description).paths]
    assert labels == [BASE_TABLE, "by_city", "by_place"]
    assert parse_description(description) == make_schema(PLACES)


@pytest.mark.parametrize(
    ("status", "readable"),
    [("ACTIVE", True), ("UPDATING", True), ("CREATING", False), ("DELETING", False)],
)
def test_only_readable_indexes_are_paths(status: str, readable: bool) -> None:
    """An index that is being built, or goes away, cannot answer; another replica may read it."""
    description: dict[str, Any] = describe(PLACES)
    description["GlobalSecondaryIndexes"][0]["IndexStatus"] = status
    schema = parse_description(description)
    assert (schema.path("by_place") is not None) is readable
    assert "by_place" in [path.label for path in schema.written]


def test_an_index_that_is_deleted_needs_no_types() -> None:
    """DynamoDB Local leaves its attributes out; templates on them stay sound meanwhile."""
    description: dict[str, Any] = describe(PLACES)
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
    table = replace(make_table(PLACES, keys={"street": "ST#{road}"}), schema=schema)
    assert table.schema_conflicts == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"Projection": {}}, "its description lacks its projection"),
        ({"Projection": {"ProjectionType": "SOME"}}, "its description lacks its projection"),
        ({"KeySchema": []}, "its description lacks the partition key"),
        (
            {"KeySchema": None},
            "its description is not understood: 'NoneType' object is not iterable",
        ),
        (
            {"KeySchema": [{"AttributeName": "moon", "KeyType": "HASH"}]},
            "its description lacks the type of moon",
        ),
        (
            {"KeySchema": [{"AttributeName": "city", "KeyType": "ORBIT"}]},
            "its description is not understood: 'ORBIT'",
        ),
    ],
)
def test_an_index_that_is_not_understood_is_skipped(changed: dict[str, Any], reason: str) -> None:
    """Whatever is wrong with it, the table and its other indexes can be read."""
    description: dict[str, Any] = describe(PLACES)
    description["GlobalSecondaryIndexes"][0].update(changed)
    schema = parse_description(description)
    assert [path.label for path in schema.paths] == [BASE_TABLE, "by_city"]
    assert schema.skipped == (f"by_place: {reason}",)


@pytest.mark.parametrize(
    "definition",
    [
        {"AttributeName": "street"},
        {"AttributeName": "street", "AttributeType": "VECTOR"},
        {"AttributeName": "street", "AttributeType": None},
        {"AttributeType": "S"},
        None,
    ],
)
def test_a_definition_that_is_not_understood_costs_its_index_alone(definition: Any) -> None:
    """A type that no key has here is none: nobody could be told of it or ask for it."""
    description: dict[str, Any] = describe(PLACES)
    description["AttributeDefinitions"] = [
        definition if one["AttributeName"] == "street" else one
        for one in description["AttributeDefinitions"]
    ]
    schema = parse_description(description)
    assert [path.label for path in schema.paths] == [BASE_TABLE, "by_city"]
    assert schema.skipped == ("by_place: its description lacks the type of street",)


@pytest.mark.parametrize(
    "odd",
    [
        {"ItemCount": "5", "TableSizeBytes": "900"},
        {"ItemCount": 5, "TableSizeBytes": -900},
        {"ItemCount": None, "TableSizeBytes": None},
        {"StreamSpecification": None},
        {"LocalSecondaryIndexes": [None, {}]},
        {"Replicas": None},
    ],
)
def test_what_no_query_needs_may_be_anything(odd: dict[str, Any]) -> None:
    """Sizes, streams and entries without a name keep no table from being read."""
    schema = parse_description(describe(PLACES) | odd)
    assert [path.label for path in schema.paths] == [BASE_TABLE, "by_city", "by_place"]
    assert schema.item_bytes is None


@pytest.mark.parametrize("lacking", ["AttributeDefinitions", "KeySchema", "TableName"])
def test_a_table_is_nothing_without_its_own_key(lacking: str) -> None:
    """It cannot be read at all, and the reason names what is lacking."""
    description = describe(PLACES)
    del description[lacking]
    with pytest.raises(DescriptionError, match=lacking):
        parse_description(description)


@pytest.mark.parametrize(
    ("told", "replicated"),
    [
        ({}, False),
        ({"Replicas": [{"RegionName": "eu-west-1"}]}, True),
        ({"Replicas": [{}], "MultiRegionConsistency": "EVENTUAL"}, True),
        ({"Replicas": [{}], "MultiRegionConsistency": "STRONG"}, False),
    ],
)
def test_copies_in_other_regions_are_known(told: dict[str, Any], replicated: bool) -> None:
    """Unless they do not lag behind."""
    assert parse_description({**describe(PLACES), **told}).replicated is replicated


def test_indexes_that_are_being_made_have_templates_too() -> None:
    """What is written to them is said in the same words."""
    description: dict[str, Any] = describe(PLACES)
    description["GlobalSecondaryIndexes"][0]["IndexStatus"] = "CREATING"
    declared = make_table(PLACES, keys={"country": "C#{land}"})
    table = replace(declared, schema=parse_description(description))
    (path,) = table.schema.unreadable
    assert path.key.partition[0].fields == ("land",)


def test_an_unknown_label_names_no_path() -> None:
    """Neither does the empty one."""
    schema = make_schema()
    assert schema.path("by_moon") is None
    assert schema.path("") is None


def test_the_types_of_all_keys_are_known() -> None:
    """Of the table and of every index, whichever of them is read."""
    assert make_schema(PLACES).key_types == PLACES.types


def test_a_table_shows_what_its_declaration_lists() -> None:
    """Everything, when it lists nothing."""
    assert make_table().may_show("anything")
    listed = make_table(attributes=["tenant_id", "title"])
    assert listed.may_show("title")
    assert not listed.may_show("event_id")


def test_a_table_is_narrowed_to_what_is_granted() -> None:
    """Attributes in the operator's order, and of the indexes those whose keys may be seen."""
    table = make_table(
        PLACES, attributes=["id", "city", "name", "country"], required=["city", "id"]
    )
    narrowed = table.restricted_to(frozenset({"city", "id", "unknown"}), frozenset())
    assert narrowed.declaration.attributes == ("id", "city")
    assert narrowed.declaration.required == ("city", "id")
    assert [path.label for path in narrowed.schema.paths] == ["@table", "by_city"]
    assert not narrowed.may_show("name")
    assert narrowed.schema.path("by_place") is None
    assert "street" not in narrowed.schema.key_types


def test_what_the_catalog_hides_hides_indexes_too() -> None:
    """Their order would tell of it; the base table is there whatever its key."""
    table = make_table(PLACES, attributes=["name"]).restricted_to(None, frozenset())
    assert [path.label for path in table.schema.paths] == ["@table"]
    assert not table.may_show_path(table.schema.base)


def test_an_index_may_have_fixed_attributes_unseen() -> None:
    """Those of which a caller gets one value in any case."""
    hidden = frozenset({"country"})
    table = make_table(PLACES).restricted_to(frozenset({"city", "street", "number"}), hidden)
    assert [path.label for path in table.schema.paths] == ["@table", "by_city", "by_place"]
    assert not table.may_show("country")


def test_a_grant_of_everything_leaves_a_table_as_it_is() -> None:
    """And one of nothing shows nothing, rather than all."""
    table = make_table(PLACES)
    assert table.restricted_to(None, frozenset()) is table
    nothing = make_table(PLACES, attributes=["name"]).restricted_to(frozenset({"id"}), frozenset())
    assert nothing.declaration.attributes == ()
    assert not nothing.may_show("id")
    assert not nothing.may_show("name")


@pytest.mark.parametrize(
    ("declared", "misfits"),
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
def test_what_cannot_be_of_a_table_is_told(declared: dict[str, Any], misfits: list[str]) -> None:
    """The declaration is judged once the table has been described."""
    assert make_table(PLACES, **declared).schema_conflicts == misfits


def test_keys_know_their_templates() -> None:
    """And whether another key may say otherwise what their fields are."""
    keys = {"country": "{land}", "city": "{land}#{town}", "street": "{road}"}
    table = make_table(PLACES, keys=keys)
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
    """A path may be shown if its key or all that it is made of may."""
    keys = {"country": "{land}", "city": "{town}#{part}"}
    table = make_table(PLACES, keys=keys, expose_keys=False)
    assert [name for name in ("country", "land", "town", "id") if table.may_show(name)] == [
        "land", "town", "id",
    ]  # fmt: skip
    assert all(map(table.may_show_path, table.schema.paths))
    narrowed = table.restricted_to(frozenset({"town", "part", "country"}), frozenset())
    assert [path.label for path in narrowed.schema.paths] == ["@table", "by_city"]
    assert not narrowed.may_show("country")


def test_a_stream_is_known_while_it_is_on() -> None:
    """Of one that was switched off, DynamoDB still tells the ARN."""
    description = describe(PLACES)
    assert parse_description(description).stream_arn is None
    description["LatestStreamArn"] = "arn:stream"
    assert parse_description(description).stream_arn is None
    description["StreamSpecification"] = {"StreamEnabled": True}
    assert parse_description(description).stream_arn == "arn:stream"
