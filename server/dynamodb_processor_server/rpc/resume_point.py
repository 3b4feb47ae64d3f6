"""The points at which requests for pages begin, with what is remembered of their responses."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from dynamodb_processor_server.query.planning.plan import Disclosure
from dynamodb_processor_server.reader import START, Cursor, PageContent, PageEnd, PageKey
from dynamodb_processor_server.rpc.prepared_queries import PreparedQuery
from dynamodb_processor_server.rpc.table_access import TableAccess


@dataclass(slots=True)
class ResumePoint:
    """A cursor in a query, with what the pages from there need besides the plan.

    It is remembered with the request, so that a cached page needs no plan. Plans are remembered
    elsewhere: they take ten times as much memory.

    Attributes:
        access: The access under which the query was planned.
        identity: That of the `PreparedQuery`.
        partitions: The number of partitions that are read.
        disclosure: The parts of the plan that the caller may see; the index is the one that the
            first page was read from.
        returned: The number of items before the cursor.
        until: When its token expires, in seconds since the epoch.
        principal: The name of the principal that begins here.
        page_key: The key of the page that begins here, None where a pager must read it.
        last_issued_token: The token that was last made for a page from here.
        head: The fields of the last response that may be repeated.
    """

    access: TableAccess
    identity: bytes
    partitions: int
    disclosure: Disclosure
    cursor: Cursor = START
    returned: int = 0
    until: float = inf
    principal: str = ""
    page_key: PageKey | None = None
    last_issued_token: IssuedToken | None = None
    head: RememberedHead | None = None

    @classmethod
    def of(
        cls, prepared: PreparedQuery, cursor: Cursor = START, returned: int = 0, until: float = inf
    ) -> ResumePoint:
        """Return the resume point of a cursor in a planned query."""
        plan = prepared.plan
        partitions, shown = len(plan.requests), plan.disclosure
        return cls(prepared.access, prepared.identity, partitions, shown, cursor, returned, until)


@dataclass(frozen=True, slots=True)
class RememberedHead:
    """The fields of a response that are the same for each hit of a page, as bytes.

    They are those of a page that ends at `cursor` and was read at `read_at`, with a token for
    `returned` items so far. They are used as long as the token. `freshness` is the field of the
    freshness token, which stands for the time `fresh_until`; it is empty where each answer needs
    another one.
    """

    cursor: Cursor | None
    returned: int
    count: int
    end: PageEnd
    read_at: float
    until: float
    data: bytes
    freshness: bytes
    fresh_until: float

    @classmethod
    def of(
        cls,
        content: PageContent,
        returned: int,
        token: IssuedToken | None,
        data: bytes,
        freshness: bytes,
        fresh_until: float,
    ) -> RememberedHead:
        """Return the fields of a page with a token that was issued, if it has one."""
        end, until = content.end, inf if token is None else token.until
        return cls(
            content.next,
            returned,
            content.count,
            end,
            content.read_at,
            until,
            data,
            freshness,
            fresh_until,
        )


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token that was made for the page that ends at `cursor`, used again before `until`."""

    cursor: Cursor
    returned: int
    token: str
    until: float
