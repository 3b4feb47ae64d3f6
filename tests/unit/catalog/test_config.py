"""The catalog's configuration: defaults, refused values, and the configuration of a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamodb_processor_server.catalog.config import (
    CatalogConfig,
    PageSizes,
    TableConfig,
)
from dynamodb_processor_server.config_files import ConfigDocument, ConfigFileError

_ARN = "arn:aws:dynamodb:eu-central-1:123456789012:table/shared-events"


def parse(text: str) -> CatalogConfig:
    """Parse the text of a catalog file."""
    return ConfigDocument(Path("catalog.yaml"), text.encode()).parse(CatalogConfig)


def test_a_full_configuration_is_read() -> None:
    """Every field of a table is parsed."""
    catalog = parse("""
tables:
  audit_events:
    table: audit-events-prod
    region: eu-west-1
    role_arn: arn:aws:iam::123456789012:role/team/reader
    description: Who did what
    page_size: {default: 50, maximum: 200}
    cache_ttl: 12.5
    attributes: [user_id, occurred_at]
    required: [occurred_at]
    sparse: allow
    allow_scan: true
    invalidate_from_stream: true
discover: ["audit-*"]
""")
    assert catalog.discover == ("audit-*",)
    assert catalog.tables == {
        "audit_events": TableConfig(
            table="audit-events-prod",
            region="eu-west-1",
            role_arn="arn:aws:iam::123456789012:role/team/reader",
            description="Who did what",
            page_size=PageSizes(default=50, maximum=200),
            cache_ttl=12.5,
            attributes=("user_id", "occurred_at"),
            required=("occurred_at",),
            sparse="allow",
            allow_scan=True,
            invalidate_from_stream=True,
        )
    }


def test_a_view_is_configured() -> None:
    """The view has the templates in their order, the forms of timestamps, and the hidden keys."""
    table = parse("""
tables:
  activity:
    timestamps: {occurred_at: iso8601, seen: epoch_milliseconds}
    keys: {SK: "{occurred_at}{event_id:4}", PK: "USER#{user_id}"}
    expose_keys: false
    time_to_live: gone_at
    hide_expired: true
""").tables["activity"]
    view = table.view
    assert [(t.attribute, [(f.name, f.width) for f in t.fields]) for t in view.templates] == [
        ("SK", [("occurred_at", 20), ("event_id", 4)]),
        ("PK", [("user_id", None)]),
    ]
    assert {name: form.name for name, form in view.timestamps.items()} == table.timestamps
    assert view.hidden == {"PK", "SK"}
    assert view.time_to_live == "gone_at"


@pytest.mark.parametrize("text", ["tables: {flights: }", "tables: {flights: {}}"])
def test_a_name_alone_has_the_defaults(text: str) -> None:
    """A table without options is the DynamoDB table of that name, without scans."""
    table = parse(text).tables["flights"]
    assert table.table == "flights"
    assert table.page_size == PageSizes(default=100, maximum=1_000)
    assert table.cache_ttl == 300.0
    assert table.attributes is None
    assert table.sparse == "refuse"
    assert not table.allow_scan


@pytest.mark.parametrize("region", ["", "region: eu-central-1"])
def test_a_table_may_be_named_by_its_arn(region: str) -> None:
    """Its region is that of the ARN, so the server needs no region of its own."""
    text = f"tables: {{shared: {{table: '{_ARN}', {region}}}}}"
    document = ConfigDocument(Path("catalog.yaml"), text.encode())
    catalog = document.parse(CatalogConfig, {"has_region": False})
    found = catalog.tables["shared"]
    assert (found.table, found.region) == (_ARN, "eu-central-1")


def test_durations_may_have_units() -> None:
    """The catalog's durations have the same units as those of the settings."""
    table = parse(
        "tables: {flights: {cache_ttl: 5m, stale_while_revalidate: 90s, stale_if_error: 1h}}"
    ).tables["flights"]
    assert (table.cache_ttl, table.stale_while_revalidate, table.stale_if_error) == (300, 90, 3_600)


def test_the_default_page_fits_a_small_maximum() -> None:
    """A maximum below the usual default also lowers the default, unless that is given."""
    table = parse("tables: {flights: {page_size: {maximum: 20}}}").tables["flights"]
    assert table.page_size == PageSizes(default=20, maximum=20)


@pytest.mark.parametrize(
    ("fields", "issue"),
    [
        ("table: ab", "1: tables.t_1.table: must be 3 to 255 of the characters"),
        ("table: a/b", "1: tables.t_1.table: must be 3 to 255 of the characters"),
        (f"table: '{_ARN}/index/i'", "1: tables.t_1.table: must be 3 to 255 of the characters"),
        ("table: 'arn:aws:s3:::events'", "1: tables.t_1.table: must be 3 to 255 of the characters"),
        (
            f"table: '{_ARN}', region: eu-west-1",
            "1: tables.t_1.region: is eu-central-1 by the table's ARN: leave it out",
        ),
        ("region: 'eu west'", "1: tables.t_1.region: must be the name of an AWS region"),
        ("role_arn: 'arn:aws:s3:::x'", "1: tables.t_1.role_arn: must be the ARN of an IAM role"),
        ("page_size: {default: 0}", "1: tables.t_1.page_size.default: must be greater than"),
        ("page_size: {maximum: 10001}", "1: tables.t_1.page_size.maximum: must be less than"),
        ("page_size: {default: '5'}", "1: tables.t_1.page_size.default: must be a valid int"),
        (
            "page_size: {default: 2000}",
            "1: tables.t_1.page_size.default: must not be more than the maximum, 1000",
        ),
        ("cache_ttl: -1", "1: tables.t_1.cache_ttl: must be 0 to 86400 seconds"),
        ("cache_ttl: 86401", "1: tables.t_1.cache_ttl: must be 0 to 86400 seconds"),
        ("cache_ttl: .nan", "1: tables.t_1.cache_ttl: must be a number of seconds, such as 300"),
        ("cache_ttl: true", "1: tables.t_1.cache_ttl: must be a number of seconds, such as 300"),
        ("cache_ttl: 2d", "1: tables.t_1.cache_ttl: must be a number of seconds, such as 300"),
        ("stale_if_error: -1", "1: tables.t_1.stale_if_error: must be 0 to 86400 seconds"),
        ("stale_while_revalidate: true", "1: tables.t_1.stale_while_revalidate: must be a num"),
        ("attributes: []", "1: tables.t_1.attributes: must not be empty"),
        ("attributes: ['']", "1: tables.t_1.attributes[0]: "),
        ("attributes: [a, b, a]", "1: tables.t_1.attributes[2]: repeats entry 0"),
        ("required: [a, a]", "1: tables.t_1.required[1]: repeats entry 0"),
        (
            "attributes: [a], required: [a, b]",
            "1: tables.t_1.required[1]: is not one of the table's attributes",
        ),
        ("sparse: maybe", "1: tables.t_1.sparse: must be 'refuse' or 'allow'"),
        ("allow_scan: 1", "1: tables.t_1.allow_scan: must be true or false"),
        ("ttl: 5", "1: tables.t_1.ttl: is not a field that is known here"),
        (
            "alow_scan: true",
            "1: tables.t_1.alow_scan: is not a field that is known here; did you mean allow_scan?",
        ),
        (
            "page_size: {maximun: 5}",
            "1: tables.t_1.page_size.maximun: is not a field that is known here; did you mean max",
        ),
        ("timestamps: {at: rfc3339}", "1: tables.t_1.timestamps.at: must be 'iso8601', "),
        ("timestamps: [at]", "1: tables.t_1.timestamps: must be a mapping of names to values"),
        ("timestamps: {'': iso8601}", "1: tables.t_1.timestamps.: must have at least"),
        ("keys: {PK: 5}", "1: tables.t_1.keys.PK: "),
        ("keys: {PK: 'USER#'}", "1: tables.t_1.keys.PK: has no field; a key template holds"),
        ("keys: {PK: '{a}{b}'}", "1: tables.t_1.keys.PK: nothing says where a ends"),
        ("keys: {PK: '{a}#{a}'}", "1: tables.t_1.keys.PK: has a field twice"),
        ("keys: {PK: '{a:x}'}", "1: tables.t_1.keys.PK: a field's width is a number"),
        ("keys: {A: '{a}', PK: '{}'}", "1: tables.t_1.keys.PK: a field is {name}"),
        ("keys: {PK: '{a', SK: '{b}'}", "1: tables.t_1.keys.PK: expected '}'"),
        ("keys: {PK: 'x#{SK}', SK: '{a}'}", "1: tables.t_1.keys.PK: SK is a stored key itself"),
        (
            "timestamps: {at: epoch_seconds}, keys: {SK: '{at}#{id}'}",
            "1: tables.t_1.keys.SK: at must be stored as text in a key",
        ),
        ("expose_keys: 0", "1: tables.t_1.expose_keys: must be true or false"),
        ("hide_expired: true", "1: tables.t_1.hide_expired: needs time_to_live"),
        ("time_to_live: ''", "1: tables.t_1.time_to_live: "),
    ],
)
def test_errors_in_a_table_are_refused(fields: str, issue: str) -> None:
    """Each error names its field."""
    with pytest.raises(ConfigFileError) as caught:
        parse(f"tables: {{t_1: {{{fields}}}}}")
    assert str(caught.value).startswith(f"catalog.yaml:{issue}")
    assert len(caught.value.issues) == 1


@pytest.mark.parametrize(
    ("text", "issue"),
    [
        ("tables: {}", "discover: the catalog declares nothing"),
        ("discover: []", "discover: the catalog declares nothing"),
        ("tables:", "tables: must be a mapping of names to values"),
        ("tables: [flights]", "tables: must be a mapping of names to values"),
        ("tables: {flights: prod}", "tables.flights: must be a mapping of fields to values"),
        ("tables: {'my table': {table: abc}}", "tables.my table: must be 1 to 255 of"),
        ("discover: ['']", "discover[0]: must be 1 to 255 of"),
        ("discover: ['a*', 'a b']", "discover[1]: must be 1 to 255 of"),
        ("discover: ['a*', 'b*', 'a*']", "discover[2]: repeats entry 0"),
        ("discover: 'a*'", "discover: must be a list"),
        ("discover: {}", "discover: the catalog declares nothing"),
        (
            "discover: {a*: {cache_ttl: -1}}",
            "discover.a*.cache_ttl: must be 0 to 86400 seconds",
        ),
        ("discover: {a*: {table: x}}", "discover.a*.table: is not a field that is known"),
        ("discover: {'a b': , a*: }", "discover.a b: must be 1 to 255 of"),
    ],
)
def test_errors_in_the_catalog_are_refused(text: str, issue: str) -> None:
    """An empty catalog, bad names and bad patterns are refused with a reason."""
    with pytest.raises(ConfigFileError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"catalog.yaml:1: {issue}")
    assert len(caught.value.issues) == 1


def test_a_name_resolves_by_name_before_pattern() -> None:
    """A named table keeps its own configuration if a pattern matches its name too."""
    catalog = parse("tables: {audit-x: {table: elsewhere}}\ndiscover: ['audit-*']")
    named = catalog.config_for("audit-x")
    assert named is not None
    assert named.table == "elsewhere"
    assert catalog.config_for("audit-y") == TableConfig(table="audit-y")


def test_a_pattern_may_carry_options() -> None:
    """Discovered tables have the options of the first pattern that matches."""
    catalog = parse("""
discover:
  "team-a-*": {cache_ttl: 5, allow_scan: true, page_size: {maximum: 50}}
  "team-*": {sparse: allow}
  "plain-*":
""")
    assert catalog.discover == ("team-a-*", "team-*", "plain-*")
    found = catalog.config_for("team-a-1")
    assert found == TableConfig(
        table="team-a-1", cache_ttl=5, allow_scan=True, page_size=PageSizes(maximum=50)
    )
    assert found.page_size.default == 50
    other = catalog.config_for("team-b")
    assert other == TableConfig(table="team-b", sparse="allow")
    assert catalog.config_for("plain-1") == TableConfig(table="plain-1")
    assert catalog.config_for("else") is None


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("audit-*", "audit-", True),
        ("audit-*", "AUDIT-1", False),
        ("audit-*", "my-audit-1", False),
        ("log.?", "log.1", True),
        ("log.?", "logx1", False),
        ("[ab]-*", "b-1", True),
        ("[!a]-*", "a-1", False),
        ("*", "a table with spaces", False),
        ("*", "ab", False),
        ("*", "abc\n", False),
        ("*", "x" * 255, True),
        ("*", "x" * 256, False),
        ("*", "", False),
    ],
)
def test_patterns_match_whole_names_that_dynamodb_allows(
    pattern: str, name: str, found: bool
) -> None:
    """Patterns are case-sensitive and never match a name that DynamoDB would refuse."""
    catalog = CatalogConfig(discover=(pattern,))
    assert (catalog.config_for(name) is not None) is found


@pytest.mark.parametrize(
    ("text", "issue"),
    [
        ("tables: {events: {}}", "tables.events.region: is needed"),
        ("tables: {events: null}", "tables.events.region: is needed"),
        ("discover: ['a-*']", "discover: has no region"),
    ],
)
def test_a_table_without_any_region_is_refused_with_the_remedy(text: str, issue: str) -> None:
    """A table needs a region if neither the settings nor AWS's variables have one."""
    document = ConfigDocument(Path("catalog.yaml"), text.encode())
    with pytest.raises(ConfigFileError) as caught:
        document.parse(CatalogConfig, {"may_consume_streams": True, "has_region": False})
    assert issue in str(caught.value)
    assert "set --region, AWS_REGION or AWS_DEFAULT_REGION" in str(caught.value)
    named = ConfigDocument(Path("catalog.yaml"), b"tables: {events: {region: eu-west-1}}")
    named.parse(CatalogConfig, {"may_consume_streams": True, "has_region": False})
