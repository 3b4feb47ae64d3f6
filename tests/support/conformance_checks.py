"""Compares the results of the Python client with those that the conformance kit states."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from dynamodb_processor_client import QueryError, Total
from tests.support.conformance import Case
from tests.support.conformance_faces import Collected


def python_value(value: Mapping[str, Any]) -> Any:
    """Return a value in proto3 JSON as the client's users write and get it."""
    if "attributes" in value:
        attributes = value["attributes"]
        return {"attributes": {name: python_value(one) for name, one in attributes.items()}}
    ((kind, data),) = value.items()
    match kind:
        case "n":
            return Decimal(data)
        case "b":
            return b64decode(data)
        case "null":
            return None
        case "ss":
            return set(data.get("values", []))
        case "ns":
            return {Decimal(member) for member in data["values"]}
        case "bs":
            return {b64decode(member) for member in data["values"]}
        case "l":
            return [python_value(member) for member in data.get("values", [])]
        case "m":
            return {name: python_value(member) for name, member in data.get("fields", {}).items()}
    return data


def check(case: Case, outcome: Any) -> None:
    """Compare the outcome of a case with the expected one."""
    expect = dict(case.expect)
    error = expect.pop("error", None)
    if error is not None:
        _check_error(error, outcome)
        return
    if isinstance(outcome, Exception):
        raise outcome
    unordered = expect.pop("unordered", False)
    for name, expected in expect.items():
        _CHECKS[name](expected, outcome, unordered)


def _check_error(expected: Mapping[str, Any], error: Any) -> None:
    assert isinstance(error, Exception), f"the call did not fail: {error}"
    if not isinstance(error, QueryError):  # the client's own refusal, which the case allows
        return
    known = {"status", "reason", "fields", "descriptions", "retryAfter", "nextPageToken"}
    assert expected.keys() <= known | {"clientMayRefuse"}
    assert error.code.name == expected["status"], error
    if "reason" in expected:
        assert error.reason == expected["reason"], error
    if "fields" in expected:
        assert [violation.subject for violation in error.violations] == expected["fields"], error
    texts = expected.get("descriptions", [])
    for violation, text in zip(error.violations, texts, strict=bool(texts)):
        assert text in violation.description
    if "retryAfter" in expected:
        assert (error.retry_after is not None) == expected["retryAfter"]
    if "nextPageToken" in expected:
        assert bool(error.next_page_token) == expected["nextPageToken"]


def _pages(outcome: Collected) -> list[Any]:
    """Return the pages with items, the last of which has the end of all."""
    return [page for page in outcome.results if page.items]


def _check_items(expected: Sequence[Mapping[str, Any]], outcome: Any, unordered: bool) -> None:
    wanted = [{name: python_value(value) for name, value in item.items()} for item in expected]
    _check_same(wanted, outcome.items, unordered)


def _check_column(expected: Mapping[str, Any], outcome: Any, unordered: bool) -> None:
    for name, values in expected.items():
        wanted = [Decimal(value) if isinstance(value, int) else value for value in values]
        _check_same(wanted, [item[name] for item in outcome.items], unordered)


def _check_same(expected: Iterable[Any], found: Iterable[Any], unordered: bool) -> None:
    wanted, got = ([typed(value) for value in values] for values in (expected, found))
    if unordered:
        wanted, got = (sorted(each, key=repr) for each in (wanted, got))
    _equal(wanted, got)


def typed(value: Any) -> Any:
    """Return a value with its types, which `==` ignores: 1, True and Decimal(1) differ here."""
    kind = type(value).__name__
    match value:
        case dict():
            return kind, {name: typed(value[name]) for name in sorted(value)}
        case list():
            return kind, [typed(member) for member in value]
        case set():
            return kind, sorted((typed(member) for member in value), key=repr)
        case Decimal():
            return kind, str(value.normalize() if value else 0) if value.is_finite() else value
    return kind, value


def _total(total: Total | None) -> Any:
    return None if total is None else {"value": total.value, "exact": total.exact}


def _check_explanation(expected: Mapping[str, Any], outcome: Any, _: bool) -> None:
    found = {
        "path": outcome.path.name,
        "index": outcome.index or "",
        "keyCondition": outcome.key_condition,
        "filterExpression": outcome.filter_expression,
        "localFilter": outcome.local_filter,
        "branches": outcome.branches,
        "rejected": sorted(one.index for one in outcome.rejected),
        "warnings": len(outcome.warnings),
    }
    _equal(expected, {name: found[name] for name in expected})


def _equal(expected: Any, found: Any) -> None:
    assert found == expected, f"{found} instead of {expected}"


_CHECKS: Final[Mapping[str, Callable[[Any, Any, bool], None]]] = {
    "items": _check_items,
    "numbers": _check_column,
    "strings": _check_column,
    "explanation": _check_explanation,
    "pageSizes": lambda expected, outcome, _: _equal(
        expected, [len(page.items) for page in _pages(outcome)]
    ),
    "ends": lambda expected, outcome, _: _equal(
        expected,
        [page.end.name for page in [*_pages(outcome)[:-1], outcome.results[-1]]],
    ),
    "token": lambda expected, outcome, _: _equal(
        expected,
        bool(outcome.resume_token if isinstance(outcome, Collected) else outcome.next_page_token),
    ),
    "freshness": lambda expected, outcome, _: _equal(expected, bool(outcome.freshness_token)),
    "indexUsed": lambda expected, outcome, _: _equal(
        expected, outcome.results[-1].stats.index_used or ""
    ),
    "cache": lambda expected, outcome, _: _equal(
        True, outcome.results[-1].cache.status.name in expected
    ),
    "total": lambda expected, outcome, _: _equal(expected, _total(outcome.total)),
    "count": lambda expected, outcome, _: _equal(
        expected, {"value": outcome.value, "exact": outcome.exact}
    ),
    "results": lambda expected, outcome, _: _check_same(
        [item and {name: python_value(value) for name, value in item.items()} for item in expected],
        outcome,
        False,
    ),
    "tables": lambda expected, outcome, _: _equal(expected, [table.name for table in outcome]),
    "key": lambda expected, outcome, _: _equal(
        expected,
        {
            "partition": [one.name for one in outcome.key.partition],
            "sort": [one.name for one in outcome.key.sort],
        },
    ),
    "indexes": lambda expected, outcome, _: _equal(
        expected, [index.name for index in outcome.indexes]
    ),
}
