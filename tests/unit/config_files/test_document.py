"""Configuration files: parsing, error reports, and files that cannot be read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import AwareDatetime, Field, StrictBool

from dynamodb_processor_server.config_files import (
    ConfigDocument,
    ConfigFileError,
    StrictModel,
    validation_error,
)
from dynamodb_processor_server.config_files.document import MAX_DOCUMENT_BYTES
from dynamodb_processor_server.errors import ConfigurationError


class Cage(StrictModel):
    """A part with required, optional and list fields."""

    animal: str
    weight: float = Field(default=1.0, strict=True)
    open: StrictBool = False
    toys: tuple[str, ...] = ()
    since: AwareDatetime | None = None


class Zoo(StrictModel):
    """The model of a whole file."""

    cages: dict[str, Cage] = Field(default_factory=dict)
    name: str = ""


Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes the file and returns its path."""

    def _write(content: str | bytes) -> Path:
        path = tmp_path / "zoo.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return _write


def load(path: Path) -> Zoo:
    """Return the file at `path` as a `Zoo`."""
    return ConfigDocument.read(path).parse(Zoo)


def issues_in(path: Path) -> list[tuple[int, str, str]]:
    """Return line, field and reason of every error in the file."""
    with pytest.raises(ConfigFileError) as caught:
        load(path)
    assert all(issue.file == str(path) for issue in caught.value.issues)
    return [(issue.line, issue.field, issue.reason) for issue in caught.value.issues]


def test_a_document_becomes_its_model(write: Write) -> None:
    """Plain values, lists, timestamps and a byte order mark are parsed as YAML defines them."""
    path = write(
        "\ufeffname: Prague\ncages:\n  a1: {animal: lynx, weight: 20, toys: [ball], "
        "since: 2020-01-01T00:00:00Z}\n"
    )
    zoo = load(path)
    assert zoo.name == "Prague"
    assert zoo.cages["a1"].weight == 20.0
    assert zoo.cages["a1"].toys == ("ball",)
    assert str(zoo.cages["a1"].since) == "2020-01-01 00:00:00+00:00"


def test_aliases_and_merge_keys_follow_yaml(write: Write) -> None:
    """A merged mapping supplies missing fields; of several merged mappings the first one wins."""
    path = write(
        "cages:\n"
        "  a: &a {animal: lynx, weight: 2}\n"
        "  b: &b {animal: wolf, open: true}\n"
        "  c: *a\n"
        "  d: {<<: [*a, *b], weight: 3}\n"
    )
    cages = load(path).cages
    assert cages["c"] == cages["a"]
    assert cages["d"] == Cage(animal="lynx", weight=3, open=True)


def test_every_error_names_its_line_and_field(write: Write) -> None:
    """Wrong types, unknown and missing fields come in one error, each with line and path."""
    path = write(
        "cages:\n"  # 1
        "  a:\n"
        "    animal: [lynx]\n"
        "    open: 'yes'\n"
        "    weight: heavy\n"
        "    toys:\n"
        "      - ball\n"
        "      - 7\n"
        "    colour: red\n"
        "  b:\n"  # 10
        "    open: true\n"
        "  c: lynx\n"
        "  d: {animal: wolf, toys: ball, since: 2020-01-01T00:00:00}\n"
    )
    assert issues_in(path) == [
        (3, "cages.a.animal", "must be text; if it is meant as text, put it in quotes"),
        (4, "cages.a.open", "must be true or false"),
        (5, "cages.a.weight", "must be a valid number"),
        (8, "cages.a.toys[1]", "must be text; if it is meant as text, put it in quotes"),
        (9, "cages.a.colour", "is not a field that is known here"),
        (10, "cages.b.animal", "is required"),
        (12, "cages.c", "must be a mapping of fields to values"),
        (13, "cages.d.toys", "must be a list"),
        (13, "cages.d.since", "must say its time zone, such as Z for UTC"),
    ]


def test_the_text_of_an_error_has_a_line_for_each_issue(write: Write) -> None:
    """The text reads `file:line: field: reason`, which editors can open."""
    path = write("name: 1\ncages: []\n")
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}:1: name: must be text; if it is meant as text, put it in quotes\n"
        f"{path}:2: cages: must be a mapping of names to values"
    )


def test_a_flood_of_errors_is_cut_short(write: Write) -> None:
    """The text lists a hundred errors and counts the rest."""
    path = write("".join(f"field{n}: 1\n" for n in range(150)))
    with pytest.raises(ConfigFileError) as caught:
        load(path)
    assert len(caught.value.issues) == 150
    assert str(caught.value).splitlines()[100:] == ["and 50 more errors"]


def test_structural_errors_are_reported_together(write: Write) -> None:
    """Repeated keys, keys without text, impossible values and foreign tags are found together."""
    path = write(
        "name: a\n"  # 1
        "name: b\n"
        "cages:\n"
        "  a: {animal: x, animal: y}\n"
        "  1: {animal: x}\n"
        "  ? [complex]\n"
        "  : {animal: x}\n"
        "  b: {since: 2026-13-01}\n"
        "  c: !!python/object:os.system {}\n"
        "  d: !secret x\n"  # 10
        "  e: !!bool maybe\n"
        "  f: !!set {x}\n"
    )
    assert issues_in(path) == [
        (2, "name", "is given twice, first on line 1"),
        (5, "cages", "a name here is not text; put it in quotes"),
        (6, "cages", "a name here is not text; put it in quotes"),
        (4, "cages.a.animal", "is given twice, first on line 4"),
        (8, "cages.b.since", "looks like a YAML timestamp, but is not a valid one"),
        (9, "cages.c", "has a tag that is not supported"),
        (10, "cages.d", "has a tag that is not supported"),
        (11, "cages.e", "looks like a YAML bool, but is not a valid one"),
        (12, "cages.f", "has a tag that is not supported"),
    ]


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ("", 0, "is empty"),
        ("# nothing\n", 0, "is empty"),
        ("---\n", 0, "is empty"),
        ("- a\n", 1, "must be a mapping of fields to values"),
        ("\njust text\n", 2, "must be a mapping of fields to values"),
        ("cages:\n\ta: 1\n", 2, "a tab in the indentation, which YAML makes of spaces only"),
        ("a: b: c\n", 1, "is not YAML: mapping values are not allowed in this context"),
        ("a: *nowhere\n", 1, "is not YAML: found undefined alias"),
        ("a: 1\n---\nb: 1\n", 2, "is not YAML: but found another document"),
        (b"name: ok\nname: \xff\xfe\n", 2, "is not UTF-8 text"),
        ("name: a\n".encode("utf-16"), 1, "is not UTF-8 text"),
        ("name: a\ncages: \x07\n", 2, "holds the character U+0007, which YAML does not allow"),
        ("a:\n  " + "[" * 5_000, 2, "is nested more than 16 levels deep"),
    ],
)
def test_files_that_are_not_yaml_mappings_are_refused(
    write: Write, content: str | bytes, line: int, reason: str
) -> None:
    """A file that is not a YAML mapping in UTF-8 is refused with the line of the error."""
    assert issues_in(write(content)) == [(line, "", reason)]


@pytest.mark.parametrize(
    "content",
    [
        "l0: &l0 [x, x]\n" + "".join(f"l{n + 1}: &l{n + 1} [*l{n}, *l{n}]\n" for n in range(64)),
        "a: &a [*a]\n",
        "a: &a {b: &b {<<: *a}}\n",
    ],
)
def test_aliases_cannot_blow_a_document_up(write: Write, content: str) -> None:
    """The values of nested aliases are counted before the aliases are expanded."""
    assert issues_in(write(content)) == [
        (0, "", "stands for more than 200000 values, aliases included")
    ]


def test_a_merge_of_merges_stays_small(write: Write) -> None:
    """Merging a mapping twice at each of many levels costs as much as its distinct fields."""
    levels = "".join(f"l{n + 1}: &l{n + 1} {{<<: [*l{n}, *l{n}]}}\n" for n in range(200))
    issues = issues_in(write("l0: &l0 {animal: lynx}\n" + levels))
    assert len(issues) == 201


def test_values_are_not_repeated_in_errors(write: Write) -> None:
    """No error repeats a value of the file, as it may be a secret in the wrong field."""
    path = write(
        "name: [hunter2]\n"
        "cages:\n"
        "  a: {animal: 1, weight: hunter2, open: hunter2, toys: hunter2, since: hunter2}\n"
        "  b: hunter2\n"
    )
    with pytest.raises(ConfigFileError) as caught:
        load(path)
    assert len(caught.value.issues) == 7
    assert "hunter2" not in str(caught.value)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path, write: Write) -> None:
    """Missing files, folders, devices, impossible paths and huge files each have their error."""
    assert issues_in(tmp_path / "none.yaml")[0][2] == ("cannot be read: No such file or directory")
    assert issues_in(tmp_path)[0][2] == "is not a regular file"
    assert issues_in(Path(os.devnull))[0][2] == "is not a regular file"
    assert issues_in(Path("a\0b"))[0][2] == "cannot be read: the path is not usable"
    fits = write("name: " + "x" * (MAX_DOCUMENT_BYTES - 6))
    assert len(load(fits).name) == MAX_DOCUMENT_BYTES - 6
    large = write("name: " + "x" * (MAX_DOCUMENT_BYTES - 5))
    assert issues_in(large)[0][2] == "is larger than 1048576 bytes"


def test_a_validator_can_point_below_its_field(write: Write) -> None:
    """A validator can report an error at an entry of a list, with that entry's line."""

    class Strict(StrictModel):
        names: tuple[str, ...]

        def model_post_init(self, context: object) -> None:
            raise validation_error("is too common", "names", 1)

    document = ConfigDocument.read(write("names:\n - a\n - b\n"))
    with pytest.raises(ConfigFileError, match=r":3: names\[1\]: is too common"):
        document.parse(Strict)
