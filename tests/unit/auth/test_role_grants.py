"""The principals of bearer tokens: names, roles, and grants bound to claims."""

from __future__ import annotations

from typing import Any

import pytest

from dynamodb_processor_server.auth.bearer.identity_file import IdentityFile
from dynamodb_processor_server.auth.bearer.role_grants import RoleGrants
from dynamodb_processor_server.auth.bearer.verifier import VerifiedToken
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.errors import BearerTokenRefused
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.planning.row_rule import RowRule
from tests.support.tokens import identity

_ROLES = {
    "tenant": {
        "tables": [{"table": "orders", "rule": "tenant_id = ${claims.tenant}"}],
        "rate_class": "slow",
    },
    "own": {"tables": [{"table": "notes", "rule": "owner = ${claims.sub} OR p = ${principal}"}]},
    "support": {"tables": ["*"], "methods": ["reader", "admin"]},
}


def principal(issuer: dict[str, Any] | None = None, **claims: Any) -> Principal:
    """Return the principal of a token with these claims."""
    content = identity(_ROLES, jwks_file="k", **(issuer or {}))
    file = IdentityFile.model_validate(content)
    token = VerifiedToken(file.issuers[0], {"sub": "alice"} | claims, 1e9)
    return RoleGrants(file.roles).principal_of(token, "text")


def rule_of(caller: Principal, table: str) -> RowRule | None:
    """Return the row rule of a granted table."""
    grant = caller.grant(table)
    assert grant is not None
    return grant.rule


def test_a_principal_is_named_after_issuer_and_subject() -> None:
    """So subjects of two issuers, and the principals of API keys, are never the same by chance."""
    caller = principal(jti="t-1")
    assert (caller.name, caller.key_id, caller.expires) == ("idp:alice", "idp:t-1", 1e9)
    assert principal({"principal": "client_id"}, client_id="app").name == "idp:app"


def test_a_token_without_an_id_is_logged_by_its_digest() -> None:
    """The claim is used if a log line can have it."""
    digest = "idp:982d9e3eb996f559"
    assert principal().key_id == digest
    assert principal(jti="x" * 65).key_id == principal(jti=7).key_id == digest


@pytest.mark.parametrize("name", [None, "", "ä", "a\nb", "x" * 256, 7, ["a"]])
def test_a_name_must_be_printable(name: Any) -> None:
    """It goes into logs, limits and page tokens."""
    with pytest.raises(BearerTokenRefused, match="has no claim sub with 1 to 255") as caught:
        principal(sub=name)
    assert caught.value.reason == "BEARER_TOKEN_CLAIM"


@pytest.mark.parametrize("roles", [["own", "x"], "own x", " own ", ["own", 7, None], "x own own"])
def test_roles_are_a_list_or_a_text(roles: Any) -> None:
    """Unknown ones are ignored."""
    caller = principal(roles=roles)
    assert [grant.table for grant in caller.grants] == ["notes"]
    assert caller.roles == {"reader"}


@pytest.mark.parametrize(
    "roles",
    [None, [], "", "x", 7, True, {"own": 1}, "OWN", "own,x", "own\u00a0x", "x\u2003own", "own\t",
     [["own"]], ["own "]],
)  # fmt: skip
def test_a_token_without_known_roles_grants_nothing(roles: Any) -> None:
    """Not even a method."""
    caller = principal(roles=roles)
    assert (caller.grants, caller.roles) == ((), frozenset())


def test_several_roles_apply_in_the_order_of_the_file() -> None:
    """The first entry for a table counts, and the first role's rate class; methods add up."""
    caller = principal(roles=["support", "tenant"], tenant="acme")
    assert [grant.table for grant in caller.grants] == ["orders", "*"]
    assert caller.rate_class == "slow"
    assert caller.roles == {"reader", "admin"}
    assert rule_of(caller, "orders") == RowRule(parse_expression("tenant_id = 'acme'", {}))
    assert rule_of(caller, "other") is None


def test_an_issuer_may_give_roles_to_each_token() -> None:
    """The token's own roles are added, from the claim that the issuer uses."""
    issuer = {"roles": ["own"], "roles_claim": "realm_access.roles"}
    caller = principal(issuer, realm_access={"roles": ["support"]})
    assert [grant.table for grant in caller.grants] == ["notes", "*"]


def test_rules_are_bound_to_claims_and_principal() -> None:
    """The principal is the name with the issuer; the subject alone is a claim."""
    expected = parse_expression("owner = 'alice' OR p = 'idp:alice'", {})
    assert rule_of(principal(roles="own"), "notes") == RowRule(expected)


@pytest.mark.parametrize("tenant", [None, "", True, {"a": 1}, []])
def test_a_missing_or_unusable_claim_refuses_the_token(tenant: Any) -> None:
    """The error names the claim, so that its issuer can be asked for it."""
    with pytest.raises(BearerTokenRefused) as caught:
        principal(roles="tenant", tenant=tenant)
    assert caught.value.reason == "BEARER_TOKEN_CLAIM"
    assert "does not fit its role: ${claims.tenant} is" in caught.value.message


def test_claims_of_other_roles_may_be_missing() -> None:
    """Only the rules of a token's own roles need values."""
    assert principal(roles="support").may_read("orders")


def test_tenants_share_a_grant_where_their_values_are_equal() -> None:
    """Two users of one tenant have one version of the grant, and another tenant another."""
    content = IdentityFile.model_validate(identity(_ROLES, jwks_file="k"))
    grants = RoleGrants(content.roles)

    def grant(sub: str, tenant: str) -> Any:
        claims = {"sub": sub, "roles": "tenant", "tenant": tenant}
        return grants.principal_of(VerifiedToken(content.issuers[0], claims, 1e9), "").grants[0]

    assert grant("a", "acme") is grant("b", "acme")
    assert grant("a", "other").version != grant("a", "acme").version
