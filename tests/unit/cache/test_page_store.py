"""The page store: bounded in bytes, least recently used pages out first, no expired page."""

from __future__ import annotations

import tracemalloc
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.page_store import CachedPage, PageStore
from dynamodb_processor_server.reader import PageContent, PageEnd
from dynamodb_processor_server.snapshot import Generation


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def page(size: int, read_at: float = 1_000.0, following: bytes | None = None) -> PageContent:
    """Return a page of so many bytes."""
    return PageContent(b"x" * size, 1, following, PageEnd.PAGE_FULL, read_at)


def put(store: PageStore, key: object, content: PageContent, expires: float) -> bool:
    """Store a page under a current snapshot."""
    return store.put(key, CachedPage(content, expires, expires))


def test_a_stored_page_is_returned() -> None:
    """A page has its own key, and the time until which it may be served."""
    store = PageStore(100_000, Clock())
    content = page(1_000)
    assert put(store, "a", content, 1_300.0)
    stored = store.get("a")
    assert stored is not None
    assert stored.content is content
    assert stored.expires == 1_300.0
    assert store.get("b") is None


def test_a_page_is_gone_when_its_time_is_over() -> None:
    """An expired page takes no room any more."""
    clock = Clock()
    store = PageStore(100_000, clock)
    put(store, "a", page(1_000), 1_300.0)
    clock.now = 1_299.9
    assert store.get("a") is not None
    clock.now = 1_300.0
    assert store.get("a") is None
    assert (len(store), store.bytes_used) == (0, 0)


def test_a_superseded_page_is_not_stored() -> None:
    """A tag was invalidated while the page was read; the stored page is no newer than it."""
    store = PageStore(100_000, Clock())
    generations = Generation(-inf), Generation(-inf)
    earlier = CachedPage(page(1_000), 1_300.0, 1_300.0)
    assert store.put("a", earlier)
    late = CachedPage(page(1_000, read_at=1_001.0), 1_300.0, 1_300.0, generations)
    generations[1].superseded = True
    assert not store.put("a", late)
    assert store.get("a") is earlier
    assert len(store) == 1


def test_the_least_recently_used_page_makes_room() -> None:
    """Reading a page counts as using it."""
    store = PageStore(16_000, Clock())
    for key in "abcdefg":
        put(store, key, page(800), 2_000.0)
    store.get("a")
    for key in "hij":
        put(store, key, page(800), 2_000.0)
    assert store.get("a") is not None
    assert store.get("b") is None
    assert store.bytes_used <= 16_000


def test_a_page_that_would_push_out_much_is_not_kept() -> None:
    """One page may take at most an eighth of the store."""
    store = PageStore(80_000, Clock())
    assert put(store, "small", page(9_000), 2_000.0)
    assert not put(store, "large", page(10_001), 2_000.0)
    assert store.get("large") is None
    assert store.get("small") is not None


def test_a_page_grown_too_large_leaves_nothing_older_behind() -> None:
    """The page that was under its key is known to be out of date."""
    store = PageStore(80_000, Clock())
    put(store, "a", page(100), 2_000.0)
    assert not put(store, "a", page(20_000, read_at=1_001.0), 2_000.0)
    assert store.get("a") is None


def test_a_page_never_replaces_one_read_after_it() -> None:
    """A slow read may end after a later one was stored."""
    clock = Clock()
    store = PageStore(80_000, clock)
    newer, older = page(100, read_at=1_005.0), page(100, read_at=1_001.0)
    assert put(store, "a", newer, 2_000.0)
    assert not put(store, "a", older, 2_000.0)
    stored = store.get("a")
    assert stored is not None
    assert stored.content is newer
    clock.now = 2_000.0
    assert put(store, "a", older, 3_000.0), "what has expired is in nobody's way"


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 4_000), st.integers(0, 20), st.booleans()),
        max_size=50,
    )
)
def test_the_bound_holds_and_nothing_is_mixed_up(
    actions: list[tuple[int, int, int, bool]],
) -> None:
    """Any puts and gets at any times keep the bound, and each key has its own page."""
    clock = Clock()
    store = PageStore(16_000, clock)
    newest: dict[int, PageContent] = {}
    for key, size, seconds, putting in actions:
        clock.now += seconds
        if putting:
            content = page(size, read_at=clock.now, following=bytes([key]))
            newest[key] = content
            put(store, key, content, clock.now + 30)
        stored = store.get(key)
        if stored is not None:
            assert stored.content is newest[key]
            assert stored.expires > clock.now
        assert 0 <= store.bytes_used <= 16_000
        assert sum(len(each.content.items) for each in map(store.get, range(6)) if each) <= 16_000


def test_pages_in_use_stay_when_much_is_read_once() -> None:
    """A stream through a large table evicts only pages without a second request."""
    store = PageStore(100_000, Clock())
    for key in range(20):
        put(store, key, page(1_000), 2_000.0)
    for key in range(10):
        assert store.get(key) is not None
    for key in range(1_000, 2_000):
        put(store, key, page(1_000), 2_000.0)
    assert all(store.get(key) for key in range(10))
    assert not any(store.get(key) for key in range(10, 20))
    assert store.bytes_used <= 100_000


def test_new_pages_have_room_however_much_is_in_use() -> None:
    """The protected page used longest ago falls back to probation, and is not lost at once."""
    store = PageStore(120_000, Clock())
    for key in range(60):
        put(store, key, page(1_000), 2_000.0)
    assert all(store.get(key) for key in range(60))
    put(store, "new", page(1_000), 2_000.0)
    assert store.get("new") is not None
    assert store.get(0) is not None


def test_pages_are_counted_by_table() -> None:
    """The statistics have the stored pages and the evicted ones."""
    clock = Clock()
    store = PageStore(20_000, clock)
    stats = store.stats("events")
    assert store.stats("events") is stats
    kept = CachedPage(page(1_000), 2_000.0, 2_000.0, (), stats)
    for key in range(20):
        assert store.put(key, kept)
    assert stats.pages == len(store)
    assert stats.bytes == store.bytes_used
    assert stats.evictions == 20 - len(store)
    assert store.put(19, kept), "one replaces another"
    assert stats.pages == len(store)
    clock.now = 2_000.0
    assert not any(store.get(key) for key in range(20))
    assert (stats.pages, stats.bytes) == (0, 0)
    assert store.all_stats == {"events": stats}


def test_the_bound_counts_everything_that_a_page_takes() -> None:
    """The counted bytes cover keys, generations, cursors and objects, and are not twice as many."""
    count, store, generations = 2_000, PageStore(100_000_000, Clock()), Generations()
    tracemalloc.start()
    try:
        for number in range(count):
            name = number.to_bytes(16, "big")
            content = page(1_000, read_at=float(number), following=b"[%090d]" % number)
            known = generations.begin((b"table", name)).generations
            cached = CachedPage(content, number + 9e9, number + 1e10, known, store.stats("events"))
            assert store.put(name * 3, cached)
        for number in range(count):
            assert store.get(number.to_bytes(16, "big") * 3) is not None
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    beside = (taken - count * 1_000) / count
    assert 400 < beside < store.bytes_used / count - 1_000 < 2 * beside
