"""Links of the documentation lead somewhere, and the index lists every page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.support.documentation import ROOT

PAGES: Final = sorted(
    str(page.relative_to(ROOT)) for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
)
_CODE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_TEST: Final = re.compile(r"\[`(test_\w+)`\]\(([^)]+\.py)\)")
_LINK: Final = re.compile(r"\[[^\]]+\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    """A link to a file or a heading of this repository has its target."""
    source = ROOT / page
    for path, anchor in _LINK.findall(_CODE.sub("", source.read_text(encoding="utf-8"))):
        target = (source.parent / path).resolve() if path else source
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_every_named_test_exists() -> None:
    """A page that names a test as a proof links to the file that has it."""
    found = {page: _TEST.findall((ROOT / page).read_text(encoding="utf-8")) for page in PAGES}
    assert len(found["docs/architecture/security.md"]) > 50
    for page, tests in found.items():
        for name, path in tests:
            source = ((ROOT / page).parent / path).read_text(encoding="utf-8")
            assert re.search(rf"^(?:async )?def {name}\(", source, re.MULTILINE), f"{page}: {name}"


def test_the_index_names_every_page() -> None:
    """A page of the documentation is in the index, or in the list of its own folder."""
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = {path.partition("#")[0] for path, _ in _LINK.findall(text)}
    folders = {"architecture": "architecture/overview.md", "decisions": "decisions/README.md"}
    for page in (ROOT / "docs").rglob("*.md"):
        name = str(page.relative_to(ROOT / "docs"))
        assert {name, folders.get(name.partition("/")[0])} & listed or name == "index.md", name
