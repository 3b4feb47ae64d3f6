"""The table of the contract tests, queries of it, and their expected answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from tests.support.datasets import Index, Schema
from tests.support.oracle import canonical_item

SCHEMA: Final = Schema(
    table="contract-readings",
    partition="device",
    sort="at",
    indexes=(
        Index("by_raw", True, ("device",), ("raw",), "KEYS_ONLY"),
        Index("by_level", False, ("level",), ("score",)),
        Index("by_site", False, ("site", "floor"), ("level", "score"), "INCLUDE", ("note",)),
    ),
    types={
        "device": "S", "at": "N", "raw": "B", "level": "S", "score": "N", "site": "S", "floor": "N",
    },
)  # fmt: skip


def make_items() -> list[dict[str, Any]]:
    """Return 100 items, with ties and gaps in the indexes, and notes of any size.

    60 are of two devices that alternate, 40 of four devices that read at the same times.
    """
    return [
        {
            **_reading(number),
            **({"raw": {"B": bytes([number % 256, 255 - number])}} if number % 4 else {}),
            **({"level": {"S": "low" if number % 3 else "high"}} if number % 5 else {}),
            "score": {"N": str(number // 6)},
            "site": {"S": "s"},
            "floor": {"N": str(number % 2)},
            "note": {"S": "n" * (number * 7 % 100)},
            "tags": {"SS": ["even" if number % 2 == 0 else "odd", "all"]},
            "doc": {"M": {"n": {"N": str(number)}, "list": {"L": [{"N": "1"}, {"N": "2"}]}}},
        }
        for number in range(100)
    ]


def _reading(number: int) -> dict[str, Any]:
    if number < 60:
        device, at = ("d1" if number < 45 else "d2"), (number - 20) * 0.5
    else:
        device, at = f"e{number % 4}", float(number // 4 - 18)
    return {"device": {"S": device}, "at": {"N": f"{at:g}"}}


# Conditions on the base table and each kind of index, most with something to filter.
QUERIES: Final = (
    "device = 'd1'",
    "device = 'd1' AND at > -3.5 AND at < 9",
    "device = 'd1' AND contains(tags, 'even')",
    "device = 'd1' AND doc.n IN (3, 17, 44)",
    "device = 'd2' AND at >= 13",
    "device = 'd1' AND raw > :raw",
    "level = 'low' AND score BETWEEN 2 AND 7",
    "level = 'high' AND score > 1 AND NOT contains(tags, 'odd')",
    "level = 'low' AND score <> 3",
    "site = 's' AND floor = 1 AND level = 'low' AND score >= 3",
)


# Several partitions: with ties and without, of the base table and of each kind of index.
FAN_OUTS: Final[dict[str, Callable[[dict[str, Any]], bool]]] = {
    "device IN ('e2', 'e0', 'e3', 'e1') AND at > -2": lambda item: (
        item["device"]["S"][0] == "e" and float(item["at"]["N"]) > -2
    ),
    "device = 'd2' OR 'e1' = device OR device IN ('nobody', 'd2')": lambda item: (
        item["device"]["S"] in ("d2", "e1")
    ),
    "device IN ('d1', 'e0', 'e1') AND contains(tags, 'odd') AND at >= 0": lambda item: (
        item["device"]["S"] in ("d1", "e0", "e1")
        and "odd" in item["tags"]["SS"]
        and float(item["at"]["N"]) >= 0
    ),
    "device IN ('e3', 'd2') AND raw > :raw": lambda item: (
        item["device"]["S"] in ("e3", "d2") and item.get("raw", {}).get("B", b"") > b"\x10"
    ),
    "level IN ('low', 'high') AND score BETWEEN 8 AND 12": lambda item: (
        "level" in item and 8 <= int(item["score"]["N"]) <= 12
    ),
    "level IN ('high', 'low') AND score < 9 AND score <> 3 AND doc.n IN (1, 3, 12, 18, 36, 52)": (
        lambda item: "level" in item and item["doc"]["M"]["n"]["N"] in ("1", "3", "12", "36", "52")
    ),
    "site = 's' AND floor IN (1, 0, 1.0) AND level IN ('high')": lambda item: (
        item.get("level") == {"S": "high"}
    ),
    "site IN ('s', 't') AND (floor = 1 OR floor = 0) AND size(note) < 30": lambda item: (
        "level" in item and len(item["note"]["S"]) < 30
    ),
}


# Queries for whole items; the index that serves them holds a part of each item.
HYDRATED: Final[dict[str, Callable[[dict[str, Any]], bool]]] = {
    "site = 's' AND floor = 1 AND level = 'low' AND score >= 3 AND score < 12": lambda item: (
        is_low(item, "1") and 3 <= int(item["score"]["N"]) < 12
    ),
    "site = 's' AND floor = 0 AND level = 'low' AND size(note) > 30": lambda item: (
        is_low(item, "0") and len(item["note"]["S"]) > 30
    ),
    "site = 's' AND floor = 1 AND level = 'low' AND raw > :raw AND score <> 4": lambda item: (
        is_low(item, "1") and item.get("raw", {}).get("B", b"") > b"\x10"
        and item["score"] != {"N": "4"}
    ),
    "site = 's' AND floor = 0 AND level = 'low' AND doc.n IN (4, 26, 98, 3)": lambda item: (
        item["doc"]["M"]["n"]["N"] in ("4", "26", "98")
    ),
    "site = 's' AND floor IN (1, 0) AND level = 'low' AND score > 2": lambda item: (
        item.get("level") == {"S": "low"} and int(item["score"]["N"]) > 2
    ),
    "site IN ('s', 't') AND (floor = 0 OR floor = 1) AND raw > :raw AND level = 'high'": (
        lambda item: item.get("level") == {"S": "high"}
        and item.get("raw", {}).get("B", b"") > b"\x10"
    ),
}  # fmt: skip


def is_low(item: dict[str, Any], floor: str) -> bool:
    """Return whether an item is of the low level, on a floor."""
    return item.get("level") == {"S": "low"} and item["floor"] == {"N": floor}


def expected(text: str | None) -> Counter[Any]:
    """Return the items that answer a query, found by checking every item."""
    return Counter(
        canonical_item(item) for item in make_items() if text is None or meets(text, item)
    )


def meets(text: str, item: dict[str, Any]) -> bool:
    """Return whether an item answers a query."""
    number, at = int(item["doc"]["M"]["n"]["N"]), float(item["at"]["N"])
    device, score = item["device"]["S"], int(item["score"]["N"])
    level, raw = item.get("level", {}).get("S"), item.get("raw", {}).get("B", b"")
    tags = item["tags"]["SS"]
    answers: dict[str, bool] = {
        QUERIES[0]: device == "d1",
        QUERIES[1]: device == "d1" and -3.5 < at < 9,
        QUERIES[2]: device == "d1" and "even" in tags,
        QUERIES[3]: device == "d1" and number in (3, 17, 44),
        QUERIES[4]: device == "d2" and at >= 13,
        QUERIES[5]: device == "d1" and raw > b"\x10",
        QUERIES[6]: level == "low" and 2 <= score <= 7,
        QUERIES[7]: level == "high" and score > 1 and "odd" not in tags,
        QUERIES[8]: level == "low" and score != 3,
        QUERIES[9]: number % 2 == 1 and level == "low" and score >= 3,
    }
    return answers[text]


def projected(text: str) -> tuple[str, ...]:
    """Return the projection of a query: only stored attributes if an index lacks some."""
    return ("site", "floor", "level", "score", "note", "device", "at") if "site" in text else ()
