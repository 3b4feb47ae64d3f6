"""Tests that queries are planned once and cached within bounds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.catalog.config import CatalogConfig
from dynamodb_processor_server.cursor import encode_cursor
from dynamodb_processor_server.errors import (
    ConfigurationError,
    FieldViolation,
    InvalidRequest,
    PermissionDenied,
)
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.page_token import PageTokenCipher, TokenKey
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.rpc.decode.page_request import RawQuerySpec
from dynamodb_processor_server.rpc.page_cursors import PageTokens
from dynamodb_processor_server.rpc.resume_point import ResumePoint
from tests.support.running import query_spec
from tests.unit.rpc.preparing import CALLER, Prepared


@pytest.fixture
def prepare() -> Prepared:
    """A query preparer with an empty cache."""
    return Prepared()


def of(user: str) -> QuerySpec:
    """Return a query of one user's events."""
    return query_spec("events", "user_id = :u", parameters={"u": user})


async def test_a_query_is_planned_once(prepare: Prepared) -> None:
    """Equal bytes get the same plan, other bytes another one."""
    first = await prepare(of("u-1"))
    assert await prepare(of("u-1")) is first
    assert await prepare(of("u-2")) is not first
    assert prepare.describer.asked == ["events"]


async def test_a_changed_table_is_planned_for_anew(prepare: Prepared) -> None:
    """Plans are cached under the catalog's version."""
    first = await prepare(of("u-1"))
    await prepare.catalog.refresh()
    assert await prepare(of("u-1")) is first
    prepare.describer.sort = "seq"
    await prepare.catalog.refresh()
    second = await prepare(of("u-1"))
    assert second is not first
    assert second.plan.path.key.sort[0].name == "seq"
    assert second.identity == first.identity  # tokens of the same query stay valid


async def test_a_large_query_is_not_cached(prepare: Prepared) -> None:
    """Caching thousands of megabytes of parameters would take too much memory."""
    large = query_spec("events", "user_id = 'u-1' AND note = :n", parameters={"n": "n" * 10_000})
    first = await prepare(large)
    assert await prepare(large) is not first
    assert (await prepare(large)).identity == first.identity
    assert len(prepare.preparation._plans) == 0


async def test_few_long_queries_are_cached_and_many_short_ones(prepare: Prepared) -> None:
    """The bytes are bounded, so that new long queries cannot fill the memory."""
    long = "u" * 3_500
    first = await prepare(of(long))
    assert await prepare(of(long)) is first
    for number in range(700):
        await prepare(of(f"{long}-{number}"))
    assert await prepare(of(long)) is not first
    second = await prepare(of("u-0"))
    for number in range(1, 3_000):
        await prepare(of(f"u-{number}"))
    assert await prepare(of("u-0")) is second


async def test_invalid_queries_are_not_cached(prepare: Prepared) -> None:
    """An invalid query is not cached, and its table is not described."""
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            await prepare(query_spec("events", "user_id ="))
    assert prepare.describer.asked == []
    assert len(prepare.preparation._plans) == 0


async def test_permission_is_checked_every_time(prepare: Prepared) -> None:
    """A plan that was cached for another caller gives no access to the table."""
    await prepare(of("u-1"))
    stranger = Principal("key-2", "stranger", frozenset({"reader"}), (Grant("flights"),), "default")
    with pytest.raises(PermissionDenied, match="events is not granted to stranger"):
        await prepare.preparation.prepare(RawQuerySpec.of(of("u-1")), stranger, ())


async def test_violations_besides_the_query_are_reported_with_it(prepare: Prepared) -> None:
    """All violations are reported, even if the query itself is valid and cached."""
    await prepare(of("u-1"))
    violations = (FieldViolation("page_size", "must not be negative"),)
    with pytest.raises(InvalidRequest) as caught:
        await prepare.preparation.prepare(RawQuerySpec.of(of("u-1")), CALLER, violations)
    assert [violation.field for violation in caught.value.violations] == ["page_size"]


async def test_a_cursor_is_encrypted_once_a_minute(prepare: Prepared) -> None:
    """The same page gets the same token within a minute; other cursors get other tokens."""
    clock = [0.0]
    cipher = PageTokenCipher([TokenKey("k", bytes(32))], lifetime=600.0)
    tokens = PageTokens(cipher, now=lambda: clock[0])
    prepared = await prepare(of("u-1"))
    resume_point = ResumePoint.of(prepared)

    def seal(at: bytes = b"[1]", returned: int = 1) -> str:
        return tokens.seal(resume_point, CALLER, at, returned)

    first = seal()
    assert seal() == first
    assert len({first, seal(at=b"[2]"), seal(returned=2), seal(returned=2, at=b"[2]")}) == 4
    first = seal()
    clock[0] = 61.0
    again = seal()
    assert again != first
    for token in (first, again):
        opened = tokens.open(token, "page_token", prepared, CALLER).start
        assert (opened.cursor, opened.returned) == (b"[1]", 1)


def ruled(text: str, *, as_filter: bool = False, attributes: Sequence[str] = ()) -> Grant:
    """Return a grant of the events that match a rule."""
    rule = RowRule(parse_expression(text, {}), as_filter)
    return Grant("events", frozenset(attributes) or None, rule)


async def test_plans_are_shared_by_equal_grants_only(prepare: Prepared) -> None:
    """The principal and the pattern make no difference; the attributes and the rule do."""
    plain, rule = Grant("*"), "user_id = 'u-1'"
    assert await prepare(of("u-1")) is await prepare(of("u-1"), plain)
    grants = [
        plain,
        Grant("events", frozenset({"user_id", "at"})),
        Grant("events", frozenset({"user_id", "at", "note"})),
        ruled(rule),
        ruled(rule, as_filter=True),
        ruled("user_id = 'u-2'"),
        ruled(rule, attributes=["user_id", "at"]),
    ]
    found = [await prepare(of("u-1"), grant) for grant in grants]
    assert [await prepare(of("u-1"), grant) for grant in grants] == found
    assert len({id(prepared) for prepared in found}) == len(grants)
    assert len(prepare.preparation._plans) == len(grants)
    keys = [prepared.plan.cache_key for prepared in found]
    assert len(set(keys[3:6])) == 3  # nor do pages of one rule go to another
    assert prepare.describer.asked == ["events"]


async def test_a_token_is_valid_under_one_rule(prepare: Prepared) -> None:
    """Another rule may read other partitions; without rules, the token's scope has no rule."""
    one, other = ruled("user_id IN ('u-1', 'u-2')"), ruled("user_id = 'u-1'")
    identities = [(await prepare(of("u-1"), grant)).identity for grant in (Grant("*"), one, other)]
    assert len(set(identities)) == 3
    assert identities[0] == (await prepare(of("u-1"), Grant("events", frozenset({"at", "user_id"})))
                             ).identity  # fmt: skip


async def test_a_token_does_not_tell_how_long_a_hidden_key_is(prepare: Prepared) -> None:
    """Where reads skip hidden items, tokens of all cursors have one length and can be decrypted."""
    cipher = PageTokenCipher([TokenKey("k", bytes(32))], lifetime=600.0)
    tokens = PageTokens(cipher, now=lambda: 0.0)
    cursors = [encode_cursor([{"at": {"S": "x" * length}}]) for length in (1, 40, 3_000)]

    async def sealed(grant: Grant) -> list[str]:
        prepared = await prepare(of("u-1"), grant)
        found = [tokens.seal(ResumePoint.of(prepared), CALLER, cursor, 1) for cursor in cursors]
        for cursor, token in zip(cursors, found, strict=True):
            start, planned = tokens.open(token, "page_token", prepared, CALLER)
            assert (planned, start.cursor, start.returned) == (prepared, cursor, 1)
        return found

    hiding = await sealed(ruled("tenant_id = 'acme'", as_filter=True))
    assert len({len(token) for token in hiding}) == 1
    plain = await sealed(Grant("events"))
    assert len({len(token) for token in plain}) == 3


async def test_a_grant_of_attributes_that_are_not_shown_is_none(prepare: Prepared) -> None:
    """A grant gives no attributes that the catalog hides."""
    declaration = CatalogConfig.model_validate({"tables": {"events": {"attributes": ["at"]}}})
    prepare.catalog.replace(declaration)
    with pytest.raises(PermissionDenied, match="no attribute of table events is granted"):
        await prepare(of("u-1"), Grant("events", frozenset({"note"})))


async def test_a_rule_that_does_not_fit_the_table_is_no_fault_of_the_callers(
    prepare: Prepared,
) -> None:
    """The caller gets an internal error, and the log has the reason."""
    with pytest.raises(ConfigurationError, match="rule does not fit events: column 11: user_id"):
        await prepare(of("u-1"), ruled("user_id = 7"))
