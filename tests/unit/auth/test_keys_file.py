"""The tables of the keys file: names, patterns, attributes and rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.keys_file import KeyEntry, KeysFile, digest_of, render_entry
from dynamodb_processor_server.auth.rule_template import Subject
from dynamodb_processor_server.config_files import ConfigDocument, ConfigFileError
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.planning.row_rule import RowRule

_ENTRY = f"""\
keys:
  - id: k
    principal: p
    digest: {digest_of("k")}
    tables:
"""


def entry(*tables: str) -> KeyEntry:
    """Return the entry whose list of tables has these lines."""
    text = _ENTRY + "".join(f"      {line}\n" for line in tables)
    (found,) = ConfigDocument(Path("keys.yaml"), text.encode()).parse(KeysFile).keys
    return found


def issues_in(*tables: str) -> list[str]:
    """Return the errors in an entry, each with its line and field."""
    with pytest.raises(ConfigFileError) as caught:
        entry(*tables)
    return [str(issue) for issue in caught.value.issues]


def test_a_table_may_be_granted_in_part() -> None:
    """A bare name grants all; a mapping names the attributes and the items."""
    found = entry(
        "- flights",
        "- table: audit_*",
        "  attributes: [user_id, tenant_id]",
        "  rule: tenant_id = 'acme'",
        "  rule_as_filter: true",
    )
    rule = RowRule(parse_expression("tenant_id = 'acme'", {}), as_filter=True)
    assert [table.template.bind(Subject("p")) for table in found.tables] == [
        Grant("flights"),
        Grant("audit_*", frozenset({"user_id", "tenant_id"}), rule),
    ]


def test_a_rule_is_no_filter_by_default() -> None:
    """A rule is strict unless the operator allows it as a filter."""
    (table,) = entry("- {table: a, rule: x = 1}").tables
    rule = table.template.bind(Subject("p")).rule
    assert rule is not None
    assert not rule.as_filter


@pytest.mark.parametrize(
    ("lines", "issue"),
    [
        (["- {rule: a = 1}"], "tables[0].table: is required"),
        (["- {table: 'a b'}"], "tables[0].table: must be 1 to 255 of the characters"),
        (["- 'a b'"], "tables[0]: must be 1 to 255 of the characters"),
        (["- 7"], "tables[0]: must be a mapping of fields to values"),
        (["- {table: a, attributes: []}"], "tables[0].attributes: must not be empty"),
        (["- {table: a, attributes: [x, x]}"], "tables[0].attributes[1]: repeats entry 0"),
        (["- {table: a, rule: a =}"], "tables[0].rule: column 4: expected a name"),
        (["- {table: a, rule: a = ':x'b}"], "tables[0].rule: column 9: expected"),
        (["- {table: a, rule: 'a = :x'}"], "tables[0].rule: column 5: parameter :x is not given"),
        (["- {table: a, rule: ''}"], "tables[0].rule: column 1: expected"),
        (["- {table: a, rule_as_filter: true}"], "tables[0].rule_as_filter: is for tables with a"),
        (["- {table: a, rows: a = 1}"], "tables[0].rows: is not a field that is known here"),
        (
            ["- {table: a, atributes: [b]}"],
            "tables[0].atributes: is not a field that is known here; did you mean attributes?",
        ),
        (["- a", "- {table: a, rule: b = 1}"], "tables[1]: repeats entry 0"),
        (
            ["- {table: a, rule: 't = ${claims.t}'}"],
            "tables[0].rule: ${claims.t}: this file has no claims; its rules know ${principal}",
        ),
        (["- {table: a, rule: 't = ${user}'}"], "tables[0].rule: column 5: a variable is ${princ"),
        (
            ["- '*'", "- {table: a*, rule: b = 1}"],
            "tables[1]: never counts: entry 0, *, matches all that it does; list the narrower",
        ),
    ],
)
def test_errors_name_line_and_field(lines: list[str], issue: str) -> None:
    """An error names the file, the line and the field, and in a rule also the column."""
    (found,) = issues_in(*lines)
    location, _, rest = found.partition(": keys[0].")
    assert location == f"keys.yaml:{5 + len(lines)}"
    assert rest.startswith(issue)


def test_a_rule_may_name_the_principal() -> None:
    """Its value is the name of the key's principal."""
    (table,) = entry("- {table: a, rule: 'owner = ${principal}'}").tables
    rule = table.template.bind(Subject("p")).rule
    assert rule == RowRule(parse_expression("owner = 'p'", {}))


def test_an_entry_is_written_as_it_was_read() -> None:
    """A bare name stays a bare name, and a field that was not given is not written."""
    found = entry("- flights", "- {table: audit_*, rule: \"t = 'a'\"}")
    text = f"keys:\n{render_entry(found)}"
    assert text.endswith("tables:\n    - flights\n    - {table: audit_*, rule: t = 'a'}\n")
    assert ConfigDocument(Path("k"), text.encode()).parse(KeysFile).keys == (found,)
