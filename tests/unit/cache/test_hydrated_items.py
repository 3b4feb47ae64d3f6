"""Pages whose items an index shows in part, and which come from the cache of items."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, Final

import pytest

from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.reader import CacheMode, CachePolicy, CacheStatus, Page
from tests.support.fake_reader import items_of
from tests.support.lengths import at_length
from tests.support.reads import make_read
from tests.unit.cache.hydrating_table import HydratingTable
from tests.unit.dynamodb.hydrated_pages import OPEN, jobs
from tests.unit.dynamodb.lagging_index import job, plan_for

TTL: Final = 300.0
REFRESH: Final = CachePolicy(CacheMode.REFRESH)
BYPASS: Final = CachePolicy(CacheMode.BYPASS)
NAMES: Final = ["j000", "j001", "j002", "j003"]


def changed(name: str, **values: Any) -> WireItem:
    """Return one of the first four jobs with other values."""
    (old,) = [item for item in jobs(4) if item["job"]["S"] == name]
    return {**old, **values}


async def warmed(shown: list[WireItem] | None = None) -> HydratingTable:
    """Return a table whose jobs were all read ten seconds ago."""
    table = HydratingTable(jobs(4) if shown is None else shown)
    await table.page()
    table.gets()
    table.now += 10.0
    return table


def due_at_9(name: str) -> WireItem:
    """Return a job that is due later than before."""
    return changed(name, due={"N": "9"})


async def test_items_that_the_index_confirms_are_not_read() -> None:
    """The page costs what the index costs, and is as old as its oldest item."""
    table = await warmed()
    page = await table.page()
    assert items_of(page) == jobs(4)
    assert (table.gets(), page.usage.backend_calls, page.usage.read_units) == ([], 1, 0.5)
    assert (page.content.read_at, page.age) == (1_000.0, 10.0)
    assert (table.stats.item_hits, table.stats.item_misses) == (4, 4)


async def test_batches_and_pages_share_items() -> None:
    """Each uses the items that the other has read."""
    table = HydratingTable(jobs(4))
    await table.get("j001", "j002")
    table.gets()
    table.now += 10.0
    page = await table.page()
    assert (table.gets(), page.content.read_at) == (["j000", "j003"], 1_000.0)
    assert items_of(page) == jobs(4)
    found = await table.get(*NAMES)
    assert (table.gets(), found.status) == ([], CacheStatus.HIT)


@pytest.mark.parametrize(
    ("old", "new"),
    [({"due": {"N": "9"}}, {}), ({"kind": {"S": "even"}}, {}), ({"state": {"S": "done"}}, {})],
    ids=["key", "filter", "partition"],
)
async def test_a_cached_item_that_contradicts_the_index_is_read_anew(
    old: WireItem, new: WireItem
) -> None:
    """The index has caught up with a write that the cache does not know of."""
    table = HydratingTable([changed("j001", **old)])
    await table.get("j001")
    table.index.put(changed("j001", **new))
    table.gets()
    table.now += 10.0
    page = await table.page(plan_for("state = 'open' AND kind = 'odd'"))
    assert items_of(page) == [changed("j001", **new)]
    assert (table.gets(), page.content.read_at) == (["j001"], 1_010.0)


async def test_all_contradicted_items_are_read_at_once() -> None:
    """There is one read for all of them, and the others stay cached."""
    table = await warmed()
    for name in ("j000", "j002"):
        table.index.put(due_at_9(name))
    page = await table.page()
    assert len(table.index.gets) == 1
    assert table.gets() == ["j000", "j002"]
    assert [item["job"]["S"] for item in items_of(page)] == ["j001", "j003", "j000", "j002"]
    assert [item["due"]["N"] for item in items_of(page)] == ["0", "1", "9", "9"]
    table.now += 1.0
    await table.page()
    assert table.gets() == [], "what was read anew was stored"


async def test_an_item_that_moves_behind_the_index_is_shown_as_the_index_has_it() -> None:
    """The cache and the index agree: the page is no older than the index in what that shows."""
    table = await warmed()
    table.index.put(changed("j001", due={"N": "9"}, note={"S": "new"}), is_shown=False)
    page = await table.page()
    assert (items_of(page), table.gets()) == (jobs(4), [])


async def test_a_stream_record_refreshes_the_items_of_pages() -> None:
    """A record's item is used without a read, or read anew while the index lags behind it."""
    table = await warmed()
    table.index.put(changed("j001", note={"S": "new"}))
    table.record("j001", 1)
    page = await table.page()
    assert (table.gets(), items_of(page)[1]["note"]) == ([], {"S": "new"})
    table.index.put(due_at_9("j002"), is_shown=False)
    table.now += 5.0
    table.record("j002", 2)
    page = await table.page()
    assert table.gets() == ["j002"]
    assert [item["job"]["S"] for item in items_of(page)] == ["j000", "j001", "j003"]
    table.index.show("j002")
    page = await table.page()
    assert table.gets() == []
    assert items_of(page)[3] == due_at_9("j002")


async def test_cached_absence_drops_no_entry() -> None:
    """An item that the index shows is read, though the cache knows that there is none."""
    table = HydratingTable(jobs(4)[:3])
    await table.get("j003")
    table.index.put(jobs(4)[3])
    table.now += 10.0
    page = await table.page()
    assert items_of(page) == jobs(4)
    assert page.content.read_at == 1_010.0, "nothing on the page is older"


async def test_a_removed_item_is_gone_after_its_record() -> None:
    """The entry that the index still shows is dropped by a read."""
    table = await warmed()
    table.index.remove("j001")
    table.record("j001", 1)
    page = await table.page()
    assert [item["job"]["S"] for item in items_of(page)] == ["j000", "j002", "j003"]
    assert table.gets() == ["j001"]


@pytest.mark.parametrize(
    ("policy", "read"),
    [
        (REFRESH, NAMES),
        (BYPASS, NAMES),
        (CachePolicy(max_staleness=9.0), NAMES),
        (CachePolicy(max_staleness=10.0), []),
        (CachePolicy(not_before=998.1), NAMES),
        (CachePolicy(not_before=998.0), []),
    ],
    ids=["refresh", "bypass", "stale", "young", "later", "earlier"],
)
async def test_policies_hold_for_each_item(policy: CachePolicy, read: list[str]) -> None:
    """Eventual reads of items show what was written two seconds before."""
    table = await warmed()
    page = await table.page(cache=policy)
    assert table.gets() == read
    assert page.content.read_at == (1_010.0 if read else 1_000.0)
    table.now += 1.0
    page = await table.page()
    assert page.age == (1.0 if policy is REFRESH or (read and policy is not BYPASS) else 11.0)


async def test_a_page_lives_no_longer_than_its_oldest_item() -> None:
    """The lifetimes of the item and of the page do not add up."""
    table = await warmed()
    table.now = 1_000.0 + TTL - 20.0
    page = await table.reader.read_page(make_read(OPEN, b"", 100))
    assert (page.status, page.age, page.expires_in) == (CacheStatus.MISS, TTL - 20.0, 20.0)
    hit = await table.reader.read_page(make_read(OPEN, b"", 100))
    assert (hit.status, hit.age, hit.expires_in) == (CacheStatus.HIT, TTL - 20.0, 20.0)
    table.now += 20.0
    page = await table.reader.read_page(make_read(OPEN, b"", 100))
    assert (page.status, page.age, table.gets()) == (CacheStatus.MISS, 0.0, NAMES)


async def test_a_caller_who_joins_a_read_gets_no_item_that_is_too_old_for_it() -> None:
    """The first caller accepts cached items, the second one joins its read and does not."""
    table = await warmed()
    bound = CachePolicy(not_before=999.0)
    table.followed = 998.5
    earlier = CachePolicy(not_before=998.5)
    first, second = await asyncio.gather(
        *(table.reader.read_page(make_read(OPEN, b"", 100, cache=c)) for c in (earlier, bound))
    )
    assert (first.age, first.status) == (10.0, CacheStatus.MISS)
    assert second.age == 0.0
    assert table.gets() == NAMES


async def test_a_young_page_is_made_anew_where_its_items_are_too_old() -> None:
    """An item that grew too old on the way is not returned."""
    table = await warmed()
    pages = table.pages.read_page

    async def slowly(request: Any) -> Page:
        page = await pages(request)
        table.now += 3.0
        return page

    table.pages.read_page = slowly  # type: ignore[method-assign]
    policy = CachePolicy(max_staleness=12.0)
    page = await table.reader.read_page(make_read(OPEN, b"", 100, cache=policy))
    assert (page.age, table.gets()) == (0.0, NAMES)
    assert page.usage.backend_calls == 3, "both reads were made for this call"


async def test_two_reads_with_one_oldest_item_have_different_digests() -> None:
    """A token of the later page does not name the earlier one."""
    table = await warmed()
    first = await table.reader.read_page(make_read(OPEN, b"", 100))
    table.index.put(changed("j001", note={"S": "new"}))
    table.record("j001", 1)
    table.now += 11.0
    second = await table.reader.read_page(make_read(OPEN, b"", 100))
    assert first.content.read_at == second.content.read_at == 1_000.0
    assert first.content.digest != second.content.digest


async def test_concurrent_pages_share_the_reads_of_items() -> None:
    """Pages of other sizes are other reads, but each item is read once."""
    table = HydratingTable(jobs(4))
    table.index.seconds = 0.001
    await asyncio.gather(*(table.page(size=size) for size in (2, 3, 4)))
    assert table.gets() == NAMES


async def test_items_of_a_call_are_looked_up_for_each_page() -> None:
    """Items that were got for a page, and not used, may be too old for the next one."""
    table = await warmed()
    policy = CachePolicy(max_staleness=12.0)
    read = make_read(OPEN, b"", 2, cache=policy, reads_on=True)
    first = await table.pages.read_page(read)
    assert (table.gets(), first.age) == ([], 10.0)
    table.now += 3.0
    following = first.content.next or b""
    read = make_read(OPEN, following, 2, cache=policy, reads_on=True, read_ahead=first.read_ahead)
    second = await table.pages.read_page(read)
    assert items_of(first) + items_of(second) == jobs(4)
    assert (table.gets(), second.age) == (NAMES[2:], 0.0)


@pytest.mark.parametrize(
    ("plan", "options"),
    [
        (plan_for("state = 'open' AND note <> 'x'", counts=True), {}),
        (OPEN, {"max_read_units": 50.0}),
        (plan_for("state = 'open'", rule=RowRule(parse_expression("note <> 'x'", {}), True)), {}),
    ],
    ids=["count", "budget", "rule"],
)
async def test_some_reads_neither_use_nor_store_items(plan: Any, options: Any) -> None:
    """Under a rule that hides items the cost of each page is the same, cached items or not."""
    table = HydratingTable(jobs(4))
    await table.pages.read_page(make_read(plan, b"", 100, **options))
    table.gets()
    table.now += 10.0
    await table.page()
    assert table.gets() == NAMES, "nothing was stored"
    table.now += 10.0
    await table.pages.read_page(make_read(plan, b"", 100, **options))
    assert table.gets() == NAMES


class _History:
    """A table under random writes, the index and the stream of which lag behind."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.table = HydratingTable(jobs(12))
        self.versions = {str(item["job"]["S"]): [item] for item in jobs(12)}
        self.sequence = 0

    def step(self) -> None:
        """Let some time pass, and perhaps something happen."""
        random, table = self.random, self.table
        table.now += random.choice((0.1, 1.5, 20.0))
        name = random.choice(list(self.versions))
        match random.randrange(4):
            case 0:
                number = str(len(self.versions[name]))
                new = job(
                    name,
                    random.randrange(6),
                    kind=random.choice(("odd", "even")),
                    note={"S": f"{name} {number}"},
                )
                self.versions[name].append(new)
                table.index.put(new, is_shown=random.random() < 0.5)
            case 1:
                table.index.show(name)
            case 2:
                self.sequence += 1
                table.record(name, self.sequence)
            case _:
                pass

    def check(self, page: Page) -> None:
        """Check that each item agrees with its entry, in order, and none that agrees is lost."""
        shown = {str(entry["job"]["S"]): entry for entry in self.table.index.shown}
        names = []
        for item in items_of(page):
            name = str(item["job"]["S"])
            names.append(name)
            assert item in self.versions[name]
            assert all(item[attribute] == shown[name][attribute] for attribute in ("state", "due"))
        order = [str(entry["job"]["S"]) for entry in self.table.index.shown]
        assert names == [name for name in order if name in names]
        for name, entry in shown.items():
            latest = self.versions[name][-1]
            assert name in names or latest["due"] != entry["due"]


async def test_pages_with_cached_items_equal_those_without() -> None:
    """Where nothing is written meanwhile they are equal; else no item contradicts its entry."""
    for seed in range(at_length(2, 1_000)):
        history = _History(seed)
        table = history.table
        for _ in range(40):
            history.step()
            page = await table.page(size=history.random.choice((2, 5, 100)))
            if page.content.next is None:
                history.check(page)
        for name in history.versions:
            table.index.show(name)
            history.sequence += 1
            table.now += 5.0
            table.record(name, history.sequence)
        expected = await table.plain.read_page(make_read(OPEN, b"", 100))
        assert items_of(await table.page()) == items_of(expected)
