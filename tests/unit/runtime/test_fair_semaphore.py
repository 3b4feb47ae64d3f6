"""First uses of tables: a principal that guesses names does not delay others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import pytest

from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.errors import RateLimited, TableNotFound
from dynamodb_processor_server.runtime.fair_semaphore import FairSemaphore
from tests.unit.catalog.describer import Describer, catalog_config

_asker: ContextVar[str] = ContextVar("asker", default="")


async def _as(asker: str, use: Callable[[], Awaitable[object]]) -> object:
    _asker.set(asker)
    return await use()


def _use(catalog: Catalog, asker: str, name: str) -> asyncio.Task[object]:
    return asyncio.create_task(_as(asker, lambda: catalog.table(name)))


async def _run_tasks() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_guesser_leaves_a_slot_to_others() -> None:
    """While one principal's guesses hang, another principal's table is described at once."""
    describer = Describer("orders")
    describer.gate.clear()
    catalog = Catalog(catalog_config(["*"]), describer, current_principal=_asker.get)
    guesses = [_use(catalog, "guesser", f"guess-{n}") for n in range(100)]
    await _run_tasks()
    assert len(describer.described) == 3
    use = _use(catalog, "quiet", "orders")
    await _run_tasks()
    assert describer.described[3:] == ["orders"]
    describer.gate.set()
    await use
    ends = await asyncio.gather(*guesses, return_exceptions=True)
    assert {type(end) for end in ends} == {TableNotFound}
    assert describer.max_concurrent == 4


async def test_principals_get_slots_in_rotation() -> None:
    """Each waiting principal has one table described before any has its next."""
    describer = Describer()
    describer.gate.clear()
    catalog = Catalog(catalog_config(["*"]), describer, current_principal=_asker.get)
    uses = [_use(catalog, "a", f"a-{n}") for n in range(6)]
    uses += [_use(catalog, "b", f"b-{n}") for n in range(6)]
    await _run_tasks()
    describer.gate.set()
    await asyncio.gather(*uses, return_exceptions=True)
    order = [name[0] for name in describer.described]
    assert order[:4] == ["a", "a", "a", "b"]
    assert order[4:10].count("b") >= 3


async def test_shared_work_gets_the_first_slot_of_any_owner() -> None:
    """A table that a guesser has queued behind others is not late for another principal."""
    describer = Describer("orders")
    describer.gate.clear()
    catalog = Catalog(catalog_config(["*"]), describer, current_principal=_asker.get)
    guesses = [_use(catalog, "guesser", f"guess-{n}") for n in range(50)]
    guesses.append(_use(catalog, "guesser", "orders"))
    await _run_tasks()
    use = _use(catalog, "quiet", "orders")
    await _run_tasks()
    assert describer.described[3:] == ["orders"]
    describer.gate.set()
    await use
    await asyncio.gather(*guesses, return_exceptions=True)
    assert describer.described.count("orders") == 1


async def test_half_of_the_waiting_calls_may_be_of_one_principal() -> None:
    """Calls of a principal beyond that are refused, and those of others wait."""
    describer = Describer("orders")
    describer.gate.clear()
    catalog = Catalog(catalog_config(["*"]), describer, current_principal=_asker.get)
    guesses = [_use(catalog, "guesser", f"guess-{n}") for n in range(500)]
    await _run_tasks()
    with pytest.raises(RateLimited) as caught:
        await _use(catalog, "guesser", "one-more")
    assert caught.value.subject == "guesser"
    use = _use(catalog, "quiet", "orders")
    await _run_tasks()
    describer.gate.set()
    await use
    await asyncio.gather(*guesses, return_exceptions=True)


async def test_cancelled_work_takes_no_slot() -> None:
    """Work may be cancelled while it waits, and as it is granted a slot."""
    semaphore = FairSemaphore(1, 1)
    order: list[str] = []
    hold = asyncio.Event()

    async def work(name: str) -> None:
        async with semaphore.acquire(name, name[0]):
            order.append(name)
            await hold.wait()

    tasks = {name: asyncio.create_task(work(name)) for name in ("a1", "a2", "b1", "c1")}
    await _run_tasks()
    tasks["a2"].cancel()
    hold.set()
    tasks["a1"].cancel()
    await asyncio.sleep(0)
    tasks["b1"].cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert "c1" in order
    async with asyncio.timeout(5), semaphore.acquire("d1", "d"):
        order.append("d1")
    assert order[-1] == "d1"
