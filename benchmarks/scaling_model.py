"""How many reads of DynamoDB replicas make: the model of docs/operations/scaling.md.

Replicas with private caches are as many parts, between which the reads of a page are spread at
random. With a shared tier, or with routing, there is one part. Reads are independent of each other.
"""

from __future__ import annotations

from collections.abc import Sequence


def zipf(pages: int, skew: float) -> list[float]:
    """Return each page's share of the reads, the most popular one first."""
    weights = [1 / rank**skew for rank in range(1, pages + 1)]
    whole = sum(weights)
    return [weight / whole for weight in weights]


def first_reads(shares: Sequence[float], reads: int, parts: int = 1) -> float:
    """Return how many reads find no page, of so many that begin with empty caches.

    That is the number of pairs of a page and a part that occur, as long as no page expires.
    """
    return sum(parts * (1 - (1 - share / parts) ** reads) for share in shares)


def steady_hit_ratio(
    shares: Sequence[float], reads_per_second: float, ttl: float, parts: int = 1
) -> float:
    """Return the part of the reads that hit, in the long run, of pages that expire after `ttl`.

    A page that is read `r` times a second in a part misses once, then hits `r * ttl` times on
    average until it expires.
    """
    hits = 0.0
    for share in shares:
        while_kept = share * reads_per_second / parts * ttl
        hits += share * while_kept / (1 + while_kept)
    return hits
