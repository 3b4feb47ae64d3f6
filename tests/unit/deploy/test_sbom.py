"""The check of the bill of materials finds each difference from the lock."""

from __future__ import annotations

from typing import Any, Final

import pytest
from sbom import sbom_findings

_LOCK: Final = "one==1.0 \\\n    --hash=sha256:aa\ntwo==2.0 ; sys_platform != 'win32' \\\n"


def _bill(*versions: tuple[str, str], hashed: bool = True) -> dict[str, Any]:
    hashes = [{"alg": "SHA-256", "content": "aa"}] if hashed else []
    references = [{"type": "distribution", "hashes": hashes}]
    return {
        "components": [
            {"name": name, "version": version, "externalReferences": references}
            for name, version in versions
        ]
    }


def test_an_equal_bill_has_no_fault() -> None:
    """Pins with hashes and with markers are recognised."""
    assert list(sbom_findings(_bill(("one", "1.0"), ("two", "2.0")), _LOCK)) == []


@pytest.mark.parametrize(
    ("bill", "expected"),
    [
        (_bill(("one", "1.0")), "two 2.0 is in the lock alone"),
        (_bill(("one", "1.0"), ("two", "2.1")), "two 2.1 is in the bill of materials alone"),
        (_bill(("one", "1.0"), ("two", "2.0"), hashed=False), "one 1.0 has no hash"),
    ],
)
def test_a_difference_is_found(bill: dict[str, Any], expected: str) -> None:
    """A missing package, another version and a missing hash are named."""
    assert expected in list(sbom_findings(bill, _LOCK))


def test_an_empty_lock_is_found() -> None:
    """A lock whose pins are not recognised is no reason for an empty bill."""
    assert list(sbom_findings(_bill(), "")) == ["the lock has no packages"]
