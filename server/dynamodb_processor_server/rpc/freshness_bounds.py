"""Opens freshness tokens, and turns the bounds of a request into those of this replica."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nextafter
from typing import Final

from dynamodb_processor_server.errors import InvalidRequest
from dynamodb_processor_server.query.freshness_token import FreshnessBound, FreshnessStamp
from dynamodb_processor_server.query.page_token import InvalidToken
from dynamodb_processor_server.reader import CachePolicy
from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.decode.count_request import CountRequest
from dynamodb_processor_server.rpc.decode.freshness import RequestedFreshness
from dynamodb_processor_server.rpc.decode.page_request import PageRequest
from dynamodb_processor_server.rpc.page_cursors import FreshnessTokens
from dynamodb_processor_server.rpc.resume_point import ResumePoint

_NOT_OURS: Final = (
    "is not a freshness_token of this service, or its key has been replaced since: send the time "
    "of that answer as cache.not_before instead"
)
_ENDED_WITH_PROCESS: Final = (
    "; tokens of this server end with its process, as its operator has not set token_keys"
)


def bounded_policy(
    call: Call, tokens: FreshnessTokens, request: PageRequest | CountRequest, start: ResumePoint
) -> CachePolicy:
    """Return the cache policy of a request that has bounds, and keep its bound in the call."""
    assert request.freshness is not None, "the request has no bounds"
    policy, call.bound = with_bounds(
        tokens,
        request.freshness,
        request.cache,
        hides_writes=start.disclosure.hides_writes,
    )
    return policy


def with_bounds(
    tokens: FreshnessTokens,
    requested: RequestedFreshness,
    cache: CachePolicy,
    *,
    hides_writes: bool,
) -> tuple[CachePolicy, FreshnessBound]:
    """Return a cache policy with the bounds of a request, and the bound that its answer covers.

    No bound is later than the time of the call: whatever the caller has seen or written was there
    by then. A page shows a write at the very time of a bound only if it shows later ones: the token
    of an answer may be from a moment at which the clock stood.

    Args:
        tokens: Opens the tokens.
        requested: The bounds.
        cache: The policy without them.
        hides_writes: Whether the caller must not learn when pages of the query were read.

    Raises InvalidRequest for a token that cannot be opened.
    """
    now = tokens.now()
    skew = tokens.clock_skew
    bounds = []
    for stamp in [_opened(tokens, token) for token in requested.tokens]:
        margin = 0.0 if stamp.replica == tokens.replica else skew
        time = stamp.until if hides_writes else stamp.disclosed
        bounds.append((min(time + margin, now), margin, stamp))
    bounds.sort(key=lambda bound: bound[0])
    written = -inf if requested.not_before is None else min(requested.not_before + skew, now)
    if not bounds:
        return replace(cache, not_before=_at(written, now)), FreshnessBound(written)
    latest, margin, stamp = bounds.pop()
    others = max((bound for bound, _, other in bounds if other.pages != stamp.pages), default=-inf)
    policy = replace(
        cache,
        not_before=max(_at(written, now), nextafter(latest, inf)),
        seen=stamp.pages,
        seen_from=max(_at(written, now), nextafter(others, inf)),
    )
    # Sent on as it came, the time of another replica needs its margin once, not at each replica.
    is_only = not bounds and written <= latest - 2 * margin and not hides_writes
    if not is_only:
        return policy, FreshnessBound(max(latest, written))
    return policy, FreshnessBound(latest, stamp, margin, requested.tokens[0])


def _opened(tokens: FreshnessTokens, token: str) -> FreshnessStamp:
    try:
        return tokens.cipher.decrypt(token)
    except InvalidToken:
        reason = _NOT_OURS + (_ENDED_WITH_PROCESS if tokens.end_with_process else "")
        raise InvalidRequest.of("cache.not_before_token", reason) from None


def _at(bound: float, now: float) -> float:
    """Return the bound of a timestamp; at the time of the call, what was read then does not do."""
    return nextafter(now, inf) if bound == now else bound
