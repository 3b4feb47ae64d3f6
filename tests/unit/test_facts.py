"""Every fact about DynamoDB that is written down is held by tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parents[1]
FACTS: Final = TESTS.parent / "docs" / "reference" / "dynamodb-facts.md"
MARK: Final = re.compile(r"^@pytest\.mark\.fact\((\d+)\)$", re.MULTILINE)


def test_every_fact_has_a_test() -> None:
    """The facts in `dynamodb-facts.md` have the numbers 1 to 26, and each has a test."""
    text = FACTS.read_text(encoding="utf-8")
    written = [int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)]
    assert written == list(range(1, 27))
    marked = {
        int(number)
        for file in TESTS.rglob("test_*.py")
        for number in MARK.findall(file.read_text(encoding="utf-8"))
    }
    assert marked == set(written)
