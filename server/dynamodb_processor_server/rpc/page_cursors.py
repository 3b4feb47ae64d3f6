"""Where requests for pages begin: the planned query, the place in it, and the tokens of places."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.cursor import padded, unpadded
from dynamodb_processor_server.errors import InvalidRequest, PreconditionFailed
from dynamodb_processor_server.query.page_token import (
    ExpiredToken,
    InvalidToken,
    PageTokenCipher,
    TokenPayload,
    TokenTooLong,
)
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.reader import START, Cursor
from dynamodb_processor_server.rpc.decode.page_request import PageRequest
from dynamodb_processor_server.rpc.decode.query import check_budget, check_cache
from dynamodb_processor_server.rpc.prepared_queries import PreparedQuery, QueryPreparer
from dynamodb_processor_server.rpc.table_access import granted

_MAX_OPENINGS: Final = 32  # of one request: one for each principal that makes it
#: Characters of a token that is kept beside the place it stands for; few are longer.
LONGEST_REMEMBERED_TOKEN: Final = 1_024
_SEALED_SECONDS: Final = 60.0  # by so much may a token expire sooner than it might

_NOT_OURS: Final = "is not a token of this query and caller"
_ENDED_WITH_PROCESS: Final = (
    "; tokens of this server end with its process, as its operator has not set token_keys"
)


@dataclass(slots=True)
class ResumePoint:
    """A place in the traversal of a query, on the index that the traversal is pinned to.

    `returned` items came before it. It is good until its token expires: `until` is in seconds since
    the epoch. `last_issued_token` is the place after it that was sealed last.
    """

    prepared: PreparedQuery
    at: Cursor = START
    returned: int = 0
    until: float = inf
    last_issued_token: _Sealed | None = None


@dataclass(frozen=True, slots=True)
class _Sealed:
    at: Cursor
    returned: int
    token: str
    until: float


class PageTokens:
    """Page tokens: places in the traversals of prepared queries.

    `end_with_process` says that the keys are this process's own, which is then part of the error
    for a refused token. `now` is seconds since the epoch.

    A place that was sealed within the last minute is not sealed anew: the same page of the cache
    goes out with the same token.
    """

    def __init__(
        self,
        sealer: PageTokenCipher,
        now: Callable[[], float] = time.time,
        *,
        end_with_process: bool = False,
    ) -> None:
        self._sealer = sealer
        self._now = now
        # One text whatever is wrong with a token, so that nothing is learnt by trying.
        self._refused = _NOT_OURS + (_ENDED_WITH_PROCESS if end_with_process else "")

    def seal(
        self, opening: ResumePoint, principal: Principal, at: Cursor | None, returned: int
    ) -> str:
        """Return the token for a place that follows an opening; empty for the traversal's end.

        Raises PreconditionFailed for a place that no token has room for.
        """
        if at is None:
            return ""
        known, now = opening.last_issued_token, self._now()
        if (
            known is not None
            and now < known.until
            and known.returned == returned
            and known.at == at
        ):
            return known.token
        plan = opening.prepared.plan
        # Where items are withheld the place may be one of them, whose key has a length of its own.
        place = padded(at, len(plan.requests)) if plan.hides_cost else at
        payload = TokenPayload(place, plan.path.index, returned)
        try:
            token = self._sealer.encrypt(payload, _context(opening.prepared, principal))
        except TokenTooLong:
            raise PreconditionFailed(
                "TOKEN_TOO_LONG",
                plan.table.name,
                f"the cursors of {len(plan.requests)} partitions are too long for a page "
                "token: ask for fewer partitions at once, or for larger pages",
            ) from None
        if len(token) <= LONGEST_REMEMBERED_TOKEN:
            opening.last_issued_token = _Sealed(at, returned, token, now + _SEALED_SECONDS)
        return token

    def open(
        self, token: str, field: str, prepared: PreparedQuery, principal: Principal
    ) -> ResumePoint:
        """Return the place that a token stands for; an empty token is the start.

        Raises InvalidRequest, naming `field`, for every token that is not this query's and this
        caller's, and PreconditionFailed for one that has expired or whose index is gone.
        """
        if not token:
            return ResumePoint(prepared)
        try:
            payload = self._sealer.decrypt(token, _context(prepared, principal))
        except InvalidToken:
            raise InvalidRequest.of(field, self._refused) from None
        except ExpiredToken:
            raise PreconditionFailed(
                "TOKEN_EXPIRED", field, "the token has expired; start again without one"
            ) from None
        pinned = _pinned(prepared, payload.index)
        return ResumePoint(pinned, unpadded(payload.cursor), payload.returned, payload.expires)


class ResumePointCache:
    """Opens requests for pages, and remembers with each request what it was opened to."""

    def __init__(
        self, preparation: QueryPreparer, tokens: PageTokens, now: Callable[[], float] = time.time
    ) -> None:
        self._preparation = preparation
        self._tokens = tokens
        self._now = now

    def known(self, request: PageRequest, principal: Principal) -> ResumePoint | None:
        """Return where a request begins for a principal, if that is remembered and good.

        Raises PermissionDenied where nothing of its table is granted.
        """
        grant = granted(principal, request.spec.table)
        key = self._preparation.version, grant.version, principal.name
        known: ResumePoint | None = request.openings.get(key)
        return known if known is not None and self._now() < known.until else None

    async def open(self, request: PageRequest, principal: Principal) -> ResumePoint:
        """Return where a request begins for a principal, and remember it.

        Raises what `QueryPreparer.prepare` and `Tokens.open` raise, and InvalidRequest for a budget
        or a cache mode that would tell of what is withheld.
        """
        grant = granted(principal, request.spec.table)
        prepared = await self._preparation.prepare(request.spec, principal, request.violations)
        check_budget(request.budget, prepared.plan)
        check_cache(request.cache, prepared.plan)
        opening = self._tokens.open(request.token, request.token_field, prepared, principal)
        if len(request.openings) >= _MAX_OPENINGS:
            request.openings.clear()
        # Describing the table on first use moves the version on.
        version = self._preparation.version
        request.openings[version, grant.version, principal.name] = opening
        return opening


def _context(prepared: PreparedQuery, principal: Principal) -> bytes:
    return prepared.identity + principal.name.encode()


def _pinned(prepared: PreparedQuery, index: str | None) -> PreparedQuery:
    """Return the query planned on `index`, where its traversal began."""
    plan = prepared.plan
    if plan.path.index == index:
        return prepared
    path = next((path for path in plan.table.schema.paths if path.index == index), None)
    try:
        if path is None:
            raise PreconditionFailed("INDEX_GONE", plan.table.name, "")
        pinned = plan_query(replace(prepared.query, index=path.label), plan.table, plan.rule)
    except (InvalidRequest, PreconditionFailed):
        raise PreconditionFailed(
            "INDEX_GONE",
            plan.table.name,
            "the index of this token can no longer serve the query; start again without a token",
        ) from None
    return replace(prepared, plan=pinned)
