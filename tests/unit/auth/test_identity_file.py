"""The identity file: issuers, roles, and errors in both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dynamodb_processor_server.auth.bearer.identity_file import IdentityFile
from dynamodb_processor_server.config_files import ConfigDocument, ConfigFileError

_ISSUER = {
    "id": "idp",
    "issuer": "https://a.example/",
    "audience": "ddb",
    "jwks_url": "https://a/k",
}
_ROLES = {"reader": {"tables": ["events"]}}


def built(issuers: list[Any], roles: Any = None) -> IdentityFile:
    """Return the content of a file with these parts."""
    text = yaml.safe_dump({"roles": _ROLES if roles is None else roles, "issuers": issuers})
    document = ConfigDocument(Path("/etc/ddb/identity.yaml"), text.encode())
    return IdentityFile.build(document, {"default"})


def issues(issuers: list[Any], roles: Any = None) -> list[str]:
    """Return the field and reason of each error."""
    with pytest.raises(ConfigFileError) as caught:
        built(issuers, roles)
    return [f"{issue.field}: {issue.reason}" for issue in caught.value.issues]


def test_defaults() -> None:
    """An issuer needs a name, an audience and a key set, a role only tables."""
    file = built([_ISSUER])
    (issuer,) = file.issuers
    assert issuer.audience == ("ddb",)
    assert issuer.algorithms == ("RS256",)
    assert (issuer.leeway, issuer.principal, issuer.roles_claim) == (30, ("sub",), ("roles",))
    role = file.roles["reader"]
    assert (role.methods, role.rate_class) == (("reader",), "default")


def test_claims_are_named_by_paths() -> None:
    """A name with other characters is quoted, as in expressions."""
    given = {"principal": "act.sub", "roles_claim": '"https://a/roles"[0]', "leeway": "5s"}
    (issuer,) = built([{**_ISSUER, **given}]).issuers
    assert issuer.principal == ("act", "sub")
    assert issuer.roles_claim == ("https://a/roles", 0)
    assert issuer.leeway == 5
    (issuer,) = built([{**_ISSUER, "principal": ["act", "https://a/sub", 1]}]).issuers
    assert issuer.principal == ("act", "https://a/sub", 1)


def test_a_key_set_file_lies_beside_the_identity_file() -> None:
    """An absolute path stays as it is."""
    entry = {**_ISSUER, "jwks_url": None}
    (relative,) = built([{**entry, "jwks_file": "keys.json"}]).issuers
    (absolute,) = built([{**entry, "jwks_file": "/run/keys.json"}]).issuers
    assert relative.jwks_file == Path("/etc/ddb/keys.json")
    assert absolute.jwks_file == Path("/run/keys.json")


@pytest.mark.parametrize(
    "url", ["https://login.example.com/keys", "http://127.0.0.1:8/k", "http://[::1]/k",
            "http://localhost/k"],
)  # fmt: skip
def test_addresses_of_key_sets(url: str) -> None:
    """Plain HTTP is for this machine only."""
    (issuer,) = built([{**_ISSUER, "jwks_url": url}]).issuers
    assert issuer.jwks_url == url


@pytest.mark.parametrize(
    ("change", "issue"),
    [
        ({"issuer": ""}, "issuers[0].issuer: "),
        ({"audience": None}, "issuers[0].audience: must be a list"),
        ({"audience": []}, "issuers[0].audience: must not be empty"),
        ({"audience": ["a", "a"]}, "issuers[0].audience[1]: repeats entry 0"),
        ({"algorithms": ["none"]}, "issuers[0].algorithms[0]: "),
        ({"algorithms": ["HS256"]}, "issuers[0].algorithms[0]: "),
        ({"algorithms": []}, "issuers[0].algorithms: must not be empty"),
        ({"leeway": "10m"}, "issuers[0].leeway: must be 0 to 300 seconds"),
        ({"jwks_url": None}, "issuers[0]: needs jwks_url or jwks_file, one of the two"),
        ({"jwks_file": "k"}, "issuers[0]: needs jwks_url or jwks_file, one of the two"),
        *(
            ({"jwks_url": url}, "issuers[0].jwks_url: must be an https URL without a user, or")
            for url in ("http://a.example/k", "https:///k", "ftp://a/k", "k", "https://a:x/k",
                        "https://u:p@a/k", "http://u@127.0.0.1/k", "")
        ),
        ({"principal": "a b"}, "issuers[0].principal: is not the path of a claim: column 3"),
        ({"principal": []}, "issuers[0].principal: must not be empty"),
        ({"principal": ["groups", -1]}, "issuers[0].principal[1]: must be a name, or behind one"),
        ({"principal": [0, "a"]}, "issuers[0].principal[0]: must be a name, or behind one"),
        ({"roles_claim": ["a", ""]}, "issuers[0].roles_claim[1]: must be a name, or behind one"),
        ({"id": ""}, "issuers[0].id: must be 1 to 128 of the characters A-Z a-z 0-9 _ . @ -"),
        ({"id": "corp:eu"}, "issuers[0].id: must be 1 to 128 of the characters A-Z a-z 0-9 _"),
        ({"roles": ["writer"]}, "issuers[0].roles[0]: names no role of this file"),
        ({"issuers": 1}, "issuers[0].issuers: is not a field that is known here"),
    ],
)  # fmt: skip
def test_errors_in_an_issuer(change: dict[str, Any], issue: str) -> None:
    """Each names the field and the reason."""
    (found,) = issues([_ISSUER | change])
    assert found.startswith(issue)


@pytest.mark.parametrize(
    ("roles", "issue"),
    [
        ({"r": {"tables": []}}, "roles.r.tables: must not be empty"),
        ({"r": {"tables": ["a"], "methods": ["writer"]}}, "roles.r.methods[0]: "),
        (
            {"r": {"tables": ["a"], "rate_class": "x"}},
            "roles.r.rate_class: must be one of the rate",
        ),
        (
            {"r": {"tables": [{"table": "a", "rule": "t = '${claims.t}'"}]}},
            "roles.r.tables[0].rule: column 5: write variables without quotes",
        ),
        ({"": {"tables": ["a"]}}, "roles.: must have at least 1 char"),
    ],
)
def test_errors_in_a_role(roles: Any, issue: str) -> None:
    """Each names the field and the reason."""
    (found,) = issues([_ISSUER], roles)
    assert found.startswith(issue)


def test_a_path_of_parts_that_are_no_names_is_refused() -> None:
    """A number in YAML is an index and true none, whatever Python takes for a number."""
    for part in (True, 1.5, None):
        found = issues([_ISSUER | {"principal": ["act", part]}])
        assert found
        assert all(one.startswith("issuers[0].principal[1]") for one in found)


def test_issuers_are_unique() -> None:
    """A token has one issuer, and a principal's name one beginning."""
    other = {**_ISSUER, "id": "other"}
    assert issues([_ISSUER, other]) == ["issuers[1].issuer: is that of issuers[0] already"]
    other = {**_ISSUER, "issuer": "other"}
    assert issues([_ISSUER, other]) == ["issuers[1].id: is that of issuers[0] already"]
    assert issues([]) == ["issuers: must not be empty"]
