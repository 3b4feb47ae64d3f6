"""The console, as a user sees it: see the scenes."""

from __future__ import annotations

import os
from pathlib import Path

from tests.browser.theatre import Theatre
from tests.support.lengths import FULL


def test_a_user_reads_a_table(theatre: Theatre, tmp_path: Path) -> None:
    """A user connects, corrects an error, sees the plan, reads 2,192 items, and exports them."""
    theatre.play("walk.mjs", tmp_path)


def test_a_cut_stream_continues(theatre: Theatre, tmp_path: Path) -> None:
    """After a cut the client continues by itself, after an outage by a button; no item is lost."""
    theatre.play("resume.mjs", tmp_path)


def test_everybody_can_use_it(theatre: Theatre, tmp_path: Path) -> None:
    """Axe finds no serious violation in any state, in light, in dark and on a phone.

    With CONSOLE_PICTURES, a folder, the states are written there as pictures for the documentation.
    """
    pictures = os.environ.get("CONSOLE_PICTURES", "")
    length = "full" if FULL or pictures else "short"
    theatre.play("looks.mjs", tmp_path, length, pictures)
