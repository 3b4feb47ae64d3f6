"""The reference page works in a browser under its Content Security Policy."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.reference import OPENAPI_FILE
from tests.gateway.openapi.conftest import KEYS, Samples
from tests.support.chromium import find_browser
from tests.support.lengths import PATIENCE

_SCRIPT: Final = Path(__file__).with_name("page") / "reference.mjs"


def test_a_reader_makes_a_call_on_the_page(
    samples: Samples, tmp_path: Path, show_line: Callable[[str], None]
) -> None:
    """It shows every operation, its call succeeds, and the browser has nothing to block."""
    browser = find_browser(show_line)
    command, variables = browser.prepare(_SCRIPT, tmp_path / "page")
    done = subprocess.run(
        [*command, f"{samples.gateway.url}/reference/", KEYS["reader"].text],
        cwd=tmp_path / "page",
        env=variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    paths = json.loads(OPENAPI_FILE.read_text(encoding="utf-8"))["paths"]
    assert seen == {
        "operations": sum(map(len, paths.values())),
        "status": "200",
        "complaints": [],
        "origins": [samples.gateway.url],
    }
