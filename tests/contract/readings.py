"""The table of the contract tests, questions to it, and their answers the plainest way."""

from __future__ import annotations

from collections import Counter
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
    """Return 60 items: of two devices, with ties and gaps in the indexes, and notes of any size."""
    return [
        {
            "device": {"S": "d1" if number < 45 else "d2"},
            "at": {"N": f"{(number - 20) * 0.5:g}"},
            **({"raw": {"B": bytes([number % 256, 255 - number])}} if number % 4 else {}),
            **({"level": {"S": "low" if number % 3 else "high"}} if number % 5 else {}),
            "score": {"N": str(number // 6)},
            "site": {"S": "s"},
            "floor": {"N": str(number % 2)},
            "note": {"S": "n" * (number * 7 % 100)},
            "tags": {"SS": ["even" if number % 2 == 0 else "odd", "all"]},
            "doc": {"M": {"n": {"N": str(number)}, "list": {"L": [{"N": "1"}, {"N": "2"}]}}},
        }
        for number in range(60)
    ]


# Conditions on the base table and each kind of index, most with something to filter.
QUESTIONS: Final = (
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


def expected(text: str | None) -> Counter[Any]:
    """Return what a question asks for, by looking at every item the plainest way."""
    return Counter(
        canonical_item(item) for item in make_items() if text is None or meets(text, item)
    )


def meets(text: str, item: dict[str, Any]) -> bool:
    """Return whether an item is an answer to a question."""
    number, at = int(item["doc"]["M"]["n"]["N"]), float(item["at"]["N"])
    device, score = item["device"]["S"], int(item["score"]["N"])
    level, raw = item.get("level", {}).get("S"), item.get("raw", {}).get("B", b"")
    tags = item["tags"]["SS"]
    answers: dict[str, bool] = {
        QUESTIONS[0]: device == "d1",
        QUESTIONS[1]: device == "d1" and -3.5 < at < 9,
        QUESTIONS[2]: device == "d1" and "even" in tags,
        QUESTIONS[3]: device == "d1" and number in (3, 17, 44),
        QUESTIONS[4]: device == "d2" and at >= 13,
        QUESTIONS[5]: device == "d1" and raw > b"\x10",
        QUESTIONS[6]: level == "low" and 2 <= score <= 7,
        QUESTIONS[7]: level == "high" and score > 1 and "odd" not in tags,
        QUESTIONS[8]: level == "low" and score != 3,
        QUESTIONS[9]: number % 2 == 1 and level == "low" and score >= 3,
    }
    return answers[text]


def projected(text: str) -> tuple[str, ...]:
    """Return what to ask for: what is there, where an index does not hold everything."""
    return ("site", "floor", "level", "score", "note", "device", "at") if "site" in text else ()
