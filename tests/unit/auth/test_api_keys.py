"""API keys: the key ring, the keys file, and the key in a call's metadata."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamodb_processor_server.auth.api_keys import KeyRing, credential_of
from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.keys_file import (
    KeyEntry,
    KeysFile,
    digest_of,
    new_key,
    render_entry,
)
from dynamodb_processor_server.config_files import ConfigDocument, ConfigFileError
from dynamodb_processor_server.errors import Unauthenticated

_NOW = 1_800_000_000.0
_INVALID = "the API key is not valid"


def document(text: str) -> ConfigDocument:
    """Return a keys file with this text."""
    return ConfigDocument(Path("keys.yaml"), text.encode())


def ring(*entries: str) -> KeyRing:
    """Return the key ring of a file with these entries in flow style."""
    return KeyRing.build(document("keys:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries)))


def refusal(keys: KeyRing, text: str, now: float = _NOW) -> str:
    """Return the text with which a key is refused."""
    with pytest.raises(Unauthenticated) as caught:
        keys.authenticate(text, now)
    return str(caught.value)


# The ring


def test_a_valid_key_gives_its_principal() -> None:
    """Name, roles and tables of the principal come from the entry."""
    text, digest = new_key()
    other_text, other_digest = new_key()
    keys = ring(
        f"id: r-1, principal: reports, digest: '{digest}', roles: [reader, admin], "
        "tables: [audit_events, 'fl*'], rate_class: standard, expires: 2027-06-01T00:00:00Z",
        f"id: o-1, principal: other, digest: '{other_digest.upper().replace('SHA', 'sha')}', "
        "tables: ['*']",
    )
    caller = keys.authenticate(text, _NOW)
    assert len(keys) == 2
    assert (caller.key_id, caller.name, caller.rate_class) == ("r-1", "reports", "standard")
    assert caller.roles == {"reader", "admin"}
    assert caller.grants == (Grant("audit_events"), Grant("fl*"))
    other = keys.authenticate(other_text, _NOW)
    assert (other.name, other.rate_class) == ("other", "default")
    assert other.roles == {"reader"}


def test_wrong_and_expired_keys_are_refused_alike() -> None:
    """Expired and unknown keys get the same text."""
    text, digest = new_key()
    keys = ring(
        f"id: a, principal: p, digest: '{digest}', tables: ['*'], expires: 2027-01-15T08:00:00Z"
    )
    assert keys.authenticate(text, _NOW - 0.001).name == "p"
    assert refusal(keys, text, _NOW) == _INVALID
    wrong = ["", " ", text + " ", text[:-1], text.upper(), digest, "é", "\ud800", "x" * 10_000_000]
    assert {refusal(keys, one, _NOW - 1) for one in wrong} == {_INVALID}


def test_an_accepted_key_changes_nothing_for_others() -> None:
    """A key is accepted again, another one for the first time, and a wrong one not at all."""
    (text, digest), (other_text, other_digest) = new_key(), new_key()
    keys = ring(
        f"id: a, principal: p, digest: '{digest}', tables: ['*']",
        f"id: b, principal: q, digest: '{other_digest}', tables: ['*']",
    )
    first = keys.authenticate(text, _NOW)
    assert keys.authenticate(text, _NOW) is first
    assert keys.authenticate(other_text, _NOW).name == "q"
    assert {refusal(keys, wrong) for wrong in (text[:-1], digest, new_key()[0])} == {_INVALID}


def test_an_empty_ring_accepts_no_key() -> None:
    """A file with an empty list is valid."""
    keys = KeyRing.build(document("keys: []"))
    assert len(keys) == 0
    assert refusal(keys, "") == _INVALID
    assert refusal(keys, new_key()[0]) == _INVALID


# Metadata


@pytest.mark.parametrize(
    ("metadata", "credential"),
    [
        ([], None),
        ([("user-agent", "x"), ("te", "trailers")], None),
        ([("x-api-key", "k")], "k"),
        ([("x-api-key", " k ")], "k"),
        ([("x-api-key", b"k")], "k"),
        ([("x-api-key", "")], None),
        ([("authorization", "Bearer k")], "k"),
        ([("authorization", "bEARER   k ")], "k"),
        ([("authorization", "Bearer")], None),
        ([("authorization", "Bearer ")], None),
        ([("authorization", "Basic azpr")], None),
        ([("authorization", "Basic azpr"), ("x-api-key", "k")], "k"),
        ([("authorization", "Bearer k"), ("x-api-key", "k")], "k"),
        ([("x-api-key", "k"), ("x-api-key", "k")], "k"),
        ([("x-api-key-bin", b"k")], None),
    ],
)
def test_the_key_is_found_in_metadata(
    metadata: list[tuple[str, str | bytes]], credential: str | None
) -> None:
    """Both ways to send a key work, with any case of the scheme; other schemes are ignored."""
    assert credential_of(metadata) == credential


@pytest.mark.parametrize(
    "metadata",
    [
        [("x-api-key", "a"), ("authorization", "Bearer b")],
        [("x-api-key", "a"), ("x-api-key", "b")],
        [("authorization", "Bearer a"), ("authorization", "Bearer b")],
    ],
)
def test_two_different_keys_are_refused(metadata: list[tuple[str, str | bytes]]) -> None:
    """The service does not choose between two keys, and repeats neither."""
    with pytest.raises(Unauthenticated, match=r"^more than one API key: send one$"):
        credential_of(metadata)


# The file

_DIGEST = "sha256:" + "0" * 64
_OTHER = "sha256:" + "1" * 64


@pytest.mark.parametrize(
    ("entry", "issue"),
    [
        ("principal: p", "id: is required"),
        ("id: 'a b'", "id: must be 1 to 128 of the characters"),
        ("digest: 'sha256:abc'", "digest: must be sha256: and the 64 hexadecimal digits"),
        ("digest: ddbp_secret", "digest: must be sha256: and the 64 hexadecimal digits"),
        ("roles: []", "roles: must not be empty"),
        ("roles: [writer]", "roles[0]: must be 'reader' or 'admin'"),
        ("roles: [admin, admin]", "roles[1]: repeats entry 0"),
        ("tables: []", "tables: must not be empty"),
        ("tables: ['a b']", "tables[0]: must be 1 to 255 of the characters"),
        ("rate_class: gold", "rate_class: must be one of the rate classes: default, standard"),
        ("expires: 2027-01-01T00:00:00", "expires: must say its time zone"),
        ("expires: tomorrow", "expires: "),
        ("key: ddbp_secret", "key: is not a field that is known here"),
    ],
)
def test_errors_in_an_entry_are_refused(entry: str, issue: str) -> None:
    """Each error names its field, and never a value that could be a key."""
    fields = {"id": "a", "principal": "p", "digest": f"'{_DIGEST}'", "tables": "['*']"}
    name, _, value = entry.partition(": ")
    fields[name] = value
    if issue == "id: is required":
        del fields["id"]
    lines = "\n    ".join(f"{name}: {value}" for name, value in fields.items())
    with pytest.raises(ConfigFileError) as caught:
        KeyRing.build(document(f"keys:\n  - {lines}\n"), ["standard", "default"])
    [found] = caught.value.issues
    assert f"{found.field}: {found.reason}".startswith(f"keys[0].{issue}")
    assert found.line == 2 + (list(fields).index(name) if name in fields and name != "id" else 0)
    assert "ddbp_" not in str(caught.value)


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        (("a", _DIGEST), ("a", _OTHER), "keys.yaml:6: keys[1].id: is that of keys[0] already"),
        (("a", _DIGEST), ("b", _DIGEST), "keys.yaml:8: keys[1].digest: is that of keys[0] already"),
    ],
)
def test_two_entries_alike_are_refused(
    first: tuple[str, str], second: tuple[str, str], error: str
) -> None:
    """An id names one key, and a key has one entry."""
    entries = "".join(
        f"  - id: {id_}\n    principal: p\n    digest: {digest}\n    tables: ['*']\n"
        for id_, digest in (first, second)
    )
    with pytest.raises(ConfigFileError) as caught:
        KeyRing.build(document(f"keys:\n{entries}"))
    assert str(caught.value) == error


def test_without_known_rate_classes_any_is_allowed() -> None:
    """The tool that creates keys does not know the server's settings."""
    keys = KeyRing.build(
        document(
            f"keys: [{{id: a, principal: p, digest: '{_DIGEST}', tables: [a], rate_class: gold}}]"
        )
    )
    assert len(keys) == 1


def test_new_keys_are_random_and_of_the_stated_form() -> None:
    """A key is `ddbp_` and 43 characters of base64url; the file stores its digest alone."""
    made = [new_key() for _ in range(100)]
    assert len({text for text, _ in made}) == 100
    for text, digest in made:
        assert text.startswith("ddbp_")
        assert len(text) == 48
        assert set(text[5:]) <= set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        )
        assert digest == digest_of(text)
        assert text not in digest


@pytest.mark.parametrize(
    "entry",
    [
        KeyEntry(id="a", principal="p", digest=_DIGEST, tables=("flights",)),
        KeyEntry(
            id="1",
            principal="null",
            digest=_DIGEST,
            tables=("*", "[!a]?", "yes"),
            roles=("reader", "admin"),
            rate_class="1e3",
            expires="2027-01-01T02:00:00+02:00",
        ),
    ],
)
def test_a_rendered_entry_reads_as_itself(entry: KeyEntry) -> None:
    """A rendered entry parses to the same values, even if they look like other YAML types."""
    for indent in (0, 2, 6):
        text = "keys:\n" + render_entry(entry, indent)
        assert document(text).parse(KeysFile).keys == (entry,)
