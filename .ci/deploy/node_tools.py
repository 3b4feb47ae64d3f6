"""Fetches the locked npm packages of `.ci/deploy/npm` once, and runs scripts of that folder.

`node_tools.py run SCRIPT [ARGUMENT ...]` runs one, and `node_tools.py version PACKAGE` prints the
locked version of a package.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dynamodb_processor_server.demo.tool_cache import ToolCache

FOLDER: Final = Path(__file__).parent / "npm"


def run_script(script: str, *arguments: str) -> int:
    """Run a script beside the packages that it imports, and return its exit code."""
    cache = ToolCache()
    packages = cache.npm_project("deploy", FOLDER)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "node_modules").symlink_to(packages / "node_modules")
        shutil.copy(FOLDER / script, folder)
        command = [cache.node(), str(folder / script), *arguments]
        return subprocess.run(command, check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """Run a script, or print a version."""
    action, name, *rest = arguments
    if action == "run":
        return run_script(name, *rest)
    lock = json.loads((FOLDER / "package-lock.json").read_text("utf-8"))
    print(lock["packages"][f"node_modules/{name}"]["version"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
