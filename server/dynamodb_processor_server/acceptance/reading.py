"""Scenarios of queries: conditions, pages, order, counts and gets."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from dynamodb_processor_client import AccessPath, Budget, Page, PageEnd
from dynamodb_processor_server.acceptance.scenario import (
    UNCACHED,
    Deployment,
    NotRun,
    Scenario,
    difference,
    expect,
)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_KEYWORDS: Final = frozenset(("AND", "BETWEEN", "FALSE", "IN", "NOT", "NULL", "OR", "TRUE"))


async def _by_key(deployment: Deployment) -> str:
    """Each page of the base query has items of one partition, in full."""
    page = await deployment.client.query(deployment.query, cache=UNCACHED)
    wrong = difference(deployment.items[: len(page.items)], page.items)
    expect(not wrong, f"the first page has {wrong}")
    expect(page.stats.items_returned == len(page.items), "stats.items_returned is wrong")
    return f"{len(page.items)} items by {page.stats.index_used or 'the table'}"


async def _explained(deployment: Deployment) -> str:
    explanation = await deployment.client.explain(deployment.query)
    expect(
        explanation.path not in (AccessPath.SCAN, AccessPath.NOTHING, AccessPath.UNKNOWN),
        f"the path is {explanation.path.name}: no key narrows the query",
    )
    return f"path {explanation.path.name}, index {explanation.index or '@table'}"


async def _range(deployment: Deployment) -> str:
    """A range of the attribute that the items are ordered by returns the part between."""
    name = _ordered_by(deployment)
    values = [item[name] for item in deployment.items]
    low, high = values[len(values) // 4], values[len(values) * 3 // 4]
    last = len(values) - values[::-1].index(high)
    expected = deployment.items[values.index(low) : last]
    query = deployment.with_condition(f"{name} BETWEEN :low AND :high", low=low, high=high)
    wrong = difference(expected, await deployment.read(query))
    expect(not wrong, f"a range of {name} has {wrong}")
    return f"{len(expected)} items by a range of {name}"


async def _list(deployment: Deployment) -> str:
    """A list of values returns the items that have one of them."""
    name, (first, second, *_) = _choices(deployment)
    expected = [item for item in deployment.items if item.get(name) in (first, second)]
    query = deployment.with_condition(f"{name} IN (:first, :second)", first=first, second=second)
    wrong = difference(expected, await deployment.read(query))
    expect(not wrong, f"{name} IN two values has {wrong}")
    return f"{len(expected)} items by two values of {name}"


async def _other(deployment: Deployment) -> str:
    """A negated condition returns the rest, items without the attribute included."""
    name, (first, *_) = _choices(deployment)
    expected = [item for item in deployment.items if item.get(name) != first]
    query = deployment.with_condition(f"NOT {name} = :first", first=first)
    wrong = difference(expected, await deployment.read(query))
    expect(not wrong, f"NOT {name} = a value has {wrong}")
    return f"{len(expected)} items by another {name}"


async def _pages(deployment: Deployment) -> str:
    """Pages with their tokens return each item once, with changing sizes."""
    sizes = (_third(deployment), max(1, _third(deployment) // 2))
    pages: list[Page] = []
    token = ""
    while not pages or token:
        size = sizes[len(pages) % 2]
        page = await deployment.client.query(
            deployment.query, page_size=size, page_token=token, cache=UNCACHED
        )
        expect(len(page.items) <= size, f"a page of {size} has {len(page.items)} items")
        is_short = len(page.items) < size and page.end is PageEnd.PAGE_FULL
        expect(not is_short, "a page is shorter than asked for and claims to be full")
        pages.append(page)
        token = page.next_page_token
        expect(len(pages) <= 2 * len(deployment.items) + 2, "the tokens do not end")
    wrong = difference(deployment.items, [item for page in pages for item in page.items])
    expect(not wrong, f"all pages together have {wrong}")
    return f"{len(deployment.items)} items on {len(pages)} pages of {sizes[0]} and {sizes[1]}"


async def _resume(deployment: Deployment) -> str:
    """A stream that is continued after its first message returns the rest."""
    size = _third(deployment)
    stream = deployment.client.pages(deployment.query, page_size=size, cache=UNCACHED)
    first = await anext(aiter(stream))
    rest = deployment.client.stream(
        deployment.query, page_size=size, resume_token=first.next_page_token, cache=UNCACHED
    )
    wrong = difference(deployment.items, [*first.items, *[item async for item in rest]])
    expect(not wrong, f"the stream and its continuation have {wrong}")
    return f"continued after {len(first.items)} of {len(deployment.items)} items"


async def _descending(deployment: Deployment) -> str:
    items = await deployment.read(deployment.with_query(descending=True))
    wrong = difference(deployment.items[::-1], items)
    expect(not wrong, f"in descending order there are {wrong}")
    return f"{len(items)} items, largest key first"


async def _projection(deployment: Deployment) -> str:
    names = tuple(name for name in deployment.key_names if name)
    if not names:
        raise NotRun("the key's attributes are hidden")
    items = await deployment.read(deployment.with_query(projection=names))
    expected = [{name: item[name] for name in names} for item in deployment.items]
    wrong = difference(expected, items)
    expect(not wrong, f"with a projection there are {wrong}")
    return f"only {', '.join(names)}"


async def _total(deployment: Deployment) -> str:
    count = await deployment.client.count(deployment.query)
    expect(
        count.exact and count.value == len(deployment.items),
        f"CountItems says {count.value} instead of {len(deployment.items)}",
    )
    page = await deployment.client.query(deployment.query, page_size=1, total="exact")
    expect(
        page.total is not None and page.total.value == len(deployment.items),
        "the total beside a page is another one",
    )
    return f"{count.value} items"


async def _gets(deployment: Deployment) -> str:
    names = deployment.key_names
    if not all(names) or not all(name in deployment.items[0] for name in names):
        raise NotRun("the key's attributes are hidden")
    wanted = [*deployment.items[:10], deployment.items[0]]
    keys = [{name: item[name] for name in names} for item in wanted]
    found = await deployment.client.get(deployment.table.name, keys)
    wrong = difference(wanted, [item for item in found if item is not None])
    expect(not wrong, f"BatchGetItems has {wrong}")
    return f"{len(found)} keys, one of them twice"


async def _budget(deployment: Deployment) -> str:
    page = await deployment.client.query(
        deployment.query, budget=Budget(max_scanned_items=1), cache=UNCACHED
    )
    expect(
        page.end is PageEnd.SCAN_BUDGET and page.next_page_token,
        f"a budget of one item ends with {page.end.name}",
    )
    expect(page.stats.items_scanned == 1, f"{page.stats.items_scanned} items were evaluated")
    return "1 item evaluated, and a token for the rest"


def _third(deployment: Deployment) -> int:
    return max(1, min(len(deployment.items) // 3, deployment.table.max_page_size))


def _ordered_by(deployment: Deployment) -> str:
    """Return the attribute of a sort key that the items are ordered by; raises NotRun."""
    sort = [index.key.sort for index in deployment.table.indexes] + [deployment.table.key.sort]
    names = {attribute.name for key in sort for attribute in key}
    for name in sorted(names | set(deployment.table.timestamp_attributes)):
        values = [_comparable(item.get(name)) for item in deployment.items]
        if _is_plain(name) and values[0] != values[-1] and _is_ordered(values):
            return name
    raise NotRun("the items are ordered by no attribute that callers see")


def _is_ordered(values: list[bytes | Decimal | None]) -> bool:
    """Return whether the values have one type and none is below the one before."""
    texts = [value for value in values if isinstance(value, bytes)]
    numbers = [value for value in values if isinstance(value, Decimal)]
    is_complete = len(values) in (len(texts), len(numbers))
    return is_complete and texts == sorted(texts) and numbers == sorted(numbers)


def _comparable(value: object) -> bytes | Decimal | None:
    """Return a value that is ordered as DynamoDB orders it; None for no key's type."""
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes | Decimal) else None


def _choices(deployment: Deployment) -> tuple[str, list[str]]:
    """Return an attribute that divides the items, and two or more of its values."""
    for name in sorted({name for item in deployment.items for name in item}):
        given = {item.get(name) for item in deployment.items if isinstance(item.get(name), str)}
        values = sorted(str(value) for value in given)
        if _is_plain(name) and 2 <= len(values) < len(deployment.items) and values[0]:
            return name, values
    raise NotRun("no attribute has a few strings as values")


def _is_plain(name: str) -> bool:
    """Return whether an expression may have the name without quotes."""
    return bool(_NAME.match(name)) and name.upper() not in _KEYWORDS


SCENARIOS: Final = (
    Scenario("query", "A query by key returns its items.", _by_key),
    Scenario("explain", "A query by key needs no scan.", _explained),
    Scenario("range", "A range of times or numbers returns the items between.", _range),
    Scenario("list", "A list of values returns the items with one of them.", _list),
    Scenario("filter", "Any other condition returns the items that meet it.", _other),
    Scenario("pages", "Pages and their tokens return each item once.", _pages),
    Scenario("resume", "A broken stream continues from its token.", _resume),
    Scenario("order", "Descending order is the reverse of ascending order.", _descending),
    Scenario("projection", "A projection returns those attributes alone.", _projection),
    Scenario("total", "Counts and totals are exact.", _total),
    Scenario("get", "Items are found by their keys.", _gets),
    Scenario("budget", "A budget bounds the items that DynamoDB evaluates.", _budget),
)
