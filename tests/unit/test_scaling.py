"""The model of several replicas, and routing, against the cache that replicas really have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from random import Random
from typing import Final

import pytest
from scaling_model import first_reads, steady_hit_ratio, zipf

from dynamodb_processor_client.affinity import affinity_key
from dynamodb_processor_client.rendezvous import ranking
from dynamodb_processor_server.cache.page_store import CachedPage, PageStore
from dynamodb_processor_server.reader import PageContent, PageEnd
from tests.support.lengths import at_length

_PAGES: Final = at_length(10_000, 50_000)
_READS: Final = _PAGES
_ITEMS: Final = bytes(1_000)
_ADDRESSES: Final = ("10.0.0.1:50051", "10.0.0.2:50051")


class Fleet:
    """Replicas with page stores of `max_bytes`; `owners` has the replica of each page."""

    def __init__(
        self, replicas: int, max_bytes: int, owners: Sequence[int] | None, *, ttl: float = 1e9
    ) -> None:
        self.now = 0.0
        self.reads = 0
        self._stores = [PageStore(max_bytes, lambda: self.now) for _ in range(replicas)]
        self._owners = owners
        self._random = Random(3)
        self._ttl = ttl

    def read(self, page: int) -> None:
        """Read a page through its owner, or else through any replica."""
        if self._owners is not None:
            store = self._stores[self._owners[page]]
        else:
            store = self._random.choice(self._stores)
        if store.get(page) is None:
            self.reads += 1
            content = PageContent(_ITEMS, 1, None, PageEnd.EXHAUSTED, self.now)
            store.put(page, CachedPage(content, self.now + self._ttl, self.now + self._ttl))

    @property
    def bytes_used(self) -> int:
        """The size of all pages."""
        return sum(store.bytes_used for store in self._stores)


def _page_bytes() -> int:
    fleet = Fleet(1, 100_000, None)
    fleet.read(0)
    return fleet.bytes_used


@pytest.mark.parametrize("fitting", [_PAGES, _PAGES // 2])
def test_two_routed_replicas_read_as_one_big_cache(
    fitting: int, report: Callable[[str, str, str], None]
) -> None:
    """With the same memory, and the client's own choice of a replica, DynamoDB is read as often."""
    owners = [
        ranking(affinity_key("pages", f"S:u-{page}"), _ADDRESSES)[0] for page in range(_PAGES)
    ]
    once = Random(1).sample(range(_PAGES), _PAGES)
    shares = list(accumulate(zipf(_PAGES, 0.99)))
    again = Random(2).choices(range(_PAGES), cum_weights=shares, k=_READS)
    memory = fitting * _page_bytes()
    one, routed = Fleet(1, memory, None), Fleet(2, memory // 2, owners)
    private = Fleet(2, memory // 2, None)
    for page in (*once, *again):
        for fleet in (one, routed, private):
            fleet.read(page)
    ratio = routed.reads / one.reads
    report(
        f"two replicas with routing, {_PAGES:,} hot pages, memory for {fitting:,}",
        "DynamoDB reads / one big cache <= 1.05",
        f"{routed.reads:,} / {one.reads:,} = {ratio:.3f}; without routing "
        f"{private.reads / one.reads:.3f}",
    )
    assert ratio <= 1.05
    assert private.reads > routed.reads


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_the_model_of_expiring_pages(replicas: int) -> None:
    """The hit ratio of replicas with private caches falls as the model says."""
    pages, rate, ttl = 500, 50.0, 20.0
    shares = zipf(pages, 0.99)
    fleet, random = Fleet(replicas, 10_000_000, None, ttl=ttl), Random(4)
    cumulative, before = list(accumulate(shares)), 0
    reads = 15_000
    for number in range(reads + 2_000):
        if number == 2_000:  # Until here the caches fill.
            before = fleet.reads
        fleet.now += random.expovariate(rate)
        fleet.read(random.choices(range(pages), cum_weights=cumulative)[0])
    measured = 1 - (fleet.reads - before) / reads
    assert measured == pytest.approx(steady_hit_ratio(shares, rate, ttl, replicas), abs=0.015)


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_the_model_of_empty_caches(replicas: int) -> None:
    """Each pair of a page and a private cache is read once."""
    shares, reads = zipf(2_000, 0.99), 10_000
    fleet = Fleet(replicas, 100_000_000, None)
    for page in Random(5).choices(range(2_000), cum_weights=list(accumulate(shares)), k=reads):
        fleet.read(page)
    assert fleet.reads / reads == pytest.approx(
        first_reads(shares, reads, replicas) / reads, abs=0.01
    )
