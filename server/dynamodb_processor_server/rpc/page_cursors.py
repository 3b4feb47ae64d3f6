"""Finds where requests for pages begin, and makes the tokens of the pages that follow."""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.cursor import padded, unpadded
from dynamodb_processor_server.errors import InvalidRequest, PreconditionFailed
from dynamodb_processor_server.pager.pager import PagingStart
from dynamodb_processor_server.query.freshness_token import (
    NONCE_BYTES,
    PAGES_BYTES,
    REPLICA_BYTES,
    STAMP,
    FreshnessBound,
    FreshnessTokenCipher,
)
from dynamodb_processor_server.query.page_token import (
    ExpiredToken,
    InvalidToken,
    PageTokenCipher,
    TokenPayload,
    TokenTooLong,
)
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.reader import Cursor, page_key
from dynamodb_processor_server.rpc.decode.page_request import PageRequest, RawQuerySpec, token_of
from dynamodb_processor_server.rpc.decode.query import check_budget, check_cache
from dynamodb_processor_server.rpc.prepared_queries import PreparedQuery, QueryPreparer
from dynamodb_processor_server.rpc.resume_point import IssuedToken, ResumePoint
from dynamodb_processor_server.rpc.table_access import granted

#: Characters of a token that is kept beside its cursor; few are longer.
LONGEST_REMEMBERED_TOKEN: Final = 1_024
_MAX_RESUME_POINTS: Final = 32  # of one request: one for each principal that makes it
_REUSE_SECONDS: Final = 60.0  # by so much may a token expire sooner than it might

_NOT_OURS: Final = "is not a token of this query and caller"
_ENDED_WITH_PROCESS: Final = (
    "; tokens of this server end with its process, as its operator has not set token_keys"
)


class OpenedQuery(NamedTuple):
    """A planned query and the point in it at which a call begins."""

    start: ResumePoint
    prepared: PreparedQuery

    @property
    def paging(self) -> PagingStart:
        """The point at which a pager begins."""
        prepared, start = self.prepared, self.start
        max_items = prepared.query.max_items
        return PagingStart(prepared.plan, start.cursor, start.returned, max_items, start.page_key)

    def page_size(self, wanted: int) -> int:
        """Return the number of items of a full page, where a request wants so many, 0 for any."""
        sizes = self.prepared.plan.table.config.page_size
        return min(wanted or sizes.default, sizes.maximum)


class PageTokens:
    """Encrypts cursors of prepared queries into page tokens, and decrypts them.

    `end_with_process` says that the keys are this process's own, which is then part of the error
    for a refused token. `now` is seconds since the epoch.

    A cursor that was encrypted within the last minute is not encrypted anew: the same page of the
    cache goes out with the same token.

    `refused` counts the tokens that were refused: `invalid` or `expired`.
    """

    def __init__(
        self,
        cipher: PageTokenCipher,
        now: Callable[[], float] = time.time,
        *,
        end_with_process: bool = False,
    ) -> None:
        self._cipher = cipher
        self.now = now
        self.refused = Counter(invalid=0, expired=0)
        # One text for every invalid token, so that nothing is learnt by trying.
        self._refusal = _NOT_OURS + (_ENDED_WITH_PROCESS if end_with_process else "")

    def seal(
        self, start: ResumePoint, principal: Principal, cursor: Cursor | None, returned: int
    ) -> str:
        """Return the token of a cursor in the query of `start`; empty where there is none.

        Raises PreconditionFailed for a cursor that no token has room for.
        """
        if cursor is None:
            return ""
        known, now = start.last_issued_token, self.now()
        if (
            known is not None
            and now < known.until
            and known.returned == returned
            and known.cursor == cursor
        ):
            return known.token
        disclosure, partitions = start.disclosure, start.partitions
        # The cursor may name a hidden item, whose key has a length of its own.
        shown = padded(cursor, partitions) if disclosure.hides_cost else cursor
        payload = TokenPayload(shown, disclosure.index, returned)
        try:
            token = self._cipher.encrypt(payload, _context(start.identity, principal))
        except TokenTooLong:
            raise PreconditionFailed(
                "TOKEN_TOO_LONG",
                start.access.table.name,
                f"the cursors of {partitions} partitions are too long for a page "
                "token: ask for fewer partitions at once, or for larger pages",
            ) from None
        if len(token) <= LONGEST_REMEMBERED_TOKEN:
            start.last_issued_token = IssuedToken(cursor, returned, token, now + _REUSE_SECONDS)
        return token

    def open(
        self, token: str, field: str, prepared: PreparedQuery, principal: Principal
    ) -> OpenedQuery:
        """Return the resume point of a token, with its plan; an empty token is the start.

        Raises InvalidRequest, naming `field`, for every token that is not this query's and this
        caller's, and PreconditionFailed for one that has expired or whose index is gone.
        """
        if not token:
            return OpenedQuery(ResumePoint.of(prepared), prepared)
        try:
            payload = self._cipher.decrypt(token, _context(prepared.identity, principal))
        except InvalidToken:
            self.refused["invalid"] += 1
            raise InvalidRequest.of(field, self._refusal) from None
        except ExpiredToken:
            self.refused["expired"] += 1
            raise PreconditionFailed(
                "TOKEN_EXPIRED", field, "the token has expired; start again without one"
            ) from None
        pinned, cursor = _pinned(prepared, payload.index), unpadded(payload.cursor)
        start = ResumePoint.of(pinned, cursor, payload.returned, payload.expires)
        return OpenedQuery(start, pinned)


class ResumePointCache:
    """Finds the resume points of requests for pages, and remembers them with each request."""

    def __init__(
        self, preparer: QueryPreparer, tokens: PageTokens, now: Callable[[], float] = time.time
    ) -> None:
        self._preparer = preparer
        self._catalog = preparer.catalog
        self.tokens = tokens
        self._now = now

    def known(self, request: PageRequest, principal: Principal) -> ResumePoint | None:
        """Return where a request begins for a principal, if that is remembered and valid.

        Raises PermissionDenied where nothing of its table is granted.
        """
        # Nearly every caller has a grant; `granted` raises for the others.
        found = principal.grant(request.table) or granted(principal, request.table)
        grant, version = found.version, self._catalog.version
        name = principal.name
        for start in request.resume_points:
            access = start.access
            if (
                start.principal == name
                and access.version == version
                and access.grant.version == grant
            ):
                return start if self._now() < start.until else None
        return None

    async def open(self, request: PageRequest, principal: Principal) -> OpenedQuery:
        """Return where a request begins for a principal, with its plan, and remember the former.

        Raises as `QueryPreparer.prepare` and `PageTokens.open`, and InvalidRequest for a budget or
        a cache mode that would reveal hidden items.
        """
        message = request.message
        spec = RawQuerySpec.of(message.query)
        prepared = await self._preparer.prepare(spec, principal, request.violations)
        known = self.known(request, principal)
        if known is not None:
            return OpenedQuery(known, _pinned(prepared, known.disclosure.index))
        check_budget(request.budget, prepared.plan)
        check_cache(request.cache, prepared.plan)
        opened = self.tokens.open(*token_of(message), prepared, principal)
        start, plan = opened.start, opened.prepared.plan
        start.principal = principal.name
        if plan.is_cached and request.is_plain and prepared.query.max_items is None:
            start.page_key = page_key(plan, start.cursor, opened.page_size(request.page_size))
        _remember(request, start)
        return opened


def _remember(request: PageRequest, start: ResumePoint) -> None:
    """Keep a resume point, and drop the oldest of too many, or those of an earlier catalog."""
    version = start.access.version
    known = [other for other in request.resume_points if other.access.version == version]
    request.resume_points = (start, *known[: _MAX_RESUME_POINTS - 1])


def _context(identity: bytes, principal: Principal) -> bytes:
    return identity + principal.name.encode()


def _pinned(prepared: PreparedQuery, index: str | None) -> PreparedQuery:
    """Return the query planned on `index`, from which its first page was read."""
    plan = prepared.plan
    if plan.path.index == index:
        return prepared
    path = next((path for path in plan.table.schema.paths if path.index == index), None)
    try:
        if path is None:
            raise PreconditionFailed("INDEX_GONE", plan.table.name, "")
        query = replace(prepared.query, index=path.label)
        pinned = plan_query(query, plan.table, plan.rule, is_pinned=True)
    except (InvalidRequest, PreconditionFailed):
        raise PreconditionFailed(
            "INDEX_GONE",
            plan.table.name,
            "the index of this token can no longer serve the query; start again without a token",
        ) from None
    return replace(prepared, plan=pinned)


class FreshnessTokens:
    """Seals the freshness tokens of answers; `rpc.freshness_bounds` opens them.

    `clock_skew` is the number of seconds by which the clocks of replicas and callers may differ.
    `now` is seconds since the epoch. `end_with_process` is that of `PageTokens`.
    """

    def __init__(
        self,
        cipher: FreshnessTokenCipher,
        clock_skew: float,
        now: Callable[[], float] = time.time,
        *,
        end_with_process: bool = False,
    ) -> None:
        self.cipher = cipher
        self.clock_skew = clock_skew
        self.now = now
        self.end_with_process = end_with_process
        #: The name of this replica, whose own times need no margin.
        self.replica = cipher.random_bytes(REPLICA_BYTES)

    def seal(
        self,
        read_until: float,
        pages: bytes,
        *,
        hides_writes: bool,
        bound: FreshnessBound | None = None,
    ) -> str:
        """Return the token of an answer.

        Args:
            read_until: When its latest data can have been read; inf if that is not known.
            pages: The digests of the stored pages that it consists of.
            hides_writes: Whether the caller must not learn when they were read.
            bound: The bound of the call, if it had one: the token stands for it as well.
        """
        now = self.now()
        until, replica = read_until, self.replica
        if bound is not None and read_until < bound.until:
            until, known = bound.until, bound.stamp
            if known is not None and read_until <= known.disclosed - bound.margin:
                until, replica = known.disclosed, known.replica
        if until > now and replica == self.replica:
            until = now
        disclosed = now if hides_writes else until
        if bound is not None and bound.stamp is not None:
            padded = pages.ljust(PAGES_BYTES, b"\0")
            if bound.stamp == (until, disclosed, replica, padded):
                # The same page once more: with the same token, its request is the same as well, and
                # all that is remembered with that.
                return bound.token
        # Encrypted here and not in the cipher: every read of DynamoDB comes this way.
        key = self.cipher.key
        if now >= key.until:
            key = self.cipher.sealing_key(now)
        nonce = self.cipher.random_bytes(NONCE_BYTES)
        stamp = STAMP.pack(until, disclosed, replica, pages)
        sealed = key.header + nonce + key.encrypt(nonce, stamp, key.header)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
