"""Bytes of all kinds as expressions and as page tokens."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from tests.support.lengths import FULL, at_length

_SECONDS: Final = at_length(3, 150)  # Seconds of each target.
_SCRIPT: Final = Path(__file__).parent / "fuzzer.py"


@pytest.mark.parametrize("target", ["expressions", "tokens"])
def test_no_bytes_are_misread(
    target: str, tmp_path: Path, report: Callable[[str, str, str], None]
) -> None:
    """An expression is refused or means the same when printed; no foreign token decrypts."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    ended = subprocess.run(
        [sys.executable, str(_SCRIPT), target, str(_SECONDS), str(corpus)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    printed = ended.stdout + ended.stderr
    done = re.search(r"Done (\d+) (?:runs )?in", printed)
    led = find_spec("atheris") is not None
    chosen = "led by coverage" if led else "at random"
    report(
        f"fuzzed {target}, {_SECONDS} s",
        "0 accepted, 0 crashes",
        f"{int(done[1]):,} inputs chosen {chosen}, status {ended.returncode}"
        if done
        else f"status {ended.returncode}",
    )
    assert led or not FULL, "atheris is not installed"
    assert ended.returncode == 0, printed[-3000:]
    assert done
