"""Links between pages of the documentation lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

_ROOT: Final = Path(__file__).parents[2]
_PAGES: Final = sorted([*_ROOT.glob("*.md"), *_ROOT.glob("docs/**/*.md")])
_LINK: Final = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def text_of(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """Files of this repository; other sites are not asked."""
    for path, anchor in _LINK.findall(text_of(page)):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_every_page_is_in_the_index() -> None:
    """Directly, or in the list of its folder: a page without a link is not found."""
    index = _ROOT / "docs" / "index.md"
    lists = [index, *(_ROOT / "docs").glob("*/README.md"), _ROOT / "docs/architecture/overview.md"]
    linked = {
        (listing.parent / path).resolve()
        for listing in lists
        for path, _ in _LINK.findall(text_of(listing))
    }
    missing = set((_ROOT / "docs").glob("**/*.md")) - linked - set(lists)
    assert not missing, sorted(str(page.relative_to(_ROOT)) for page in missing)
