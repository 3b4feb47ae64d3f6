"""Node.js, and the packages that the clients for it need."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dynamodb_processor_server.demo.tool_cache import ToolCache
from tests.interop.drivers import CLIENTS

_INSTALL: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")


def node(cache: ToolCache) -> str:
    """Return the Node.js of this machine, or the one that npm was fetched with."""
    npm = cache.npm()
    return npm[0] if len(npm) > 1 else str(shutil.which("node"))


def install_packages(cache: ToolCache, report: Callable[[str], None]) -> Path:
    """Return a folder in the cache with the locked packages, installed if it is not there."""
    lock = CLIENTS / "package-lock.json"
    target = cache.root / f"interop-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if target.is_dir():
        return target
    report(f"fetching clients for Node.js, once, into {cache.root}")
    cache.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.root) as scratch:
        folder = Path(scratch) / "entry"
        folder.mkdir()
        for file in (CLIENTS / "package.json", lock):
            shutil.copy(file, folder)
        subprocess.run([*cache.npm(), *_INSTALL], cwd=folder, check=True, timeout=900)
        folder.rename(target)
    return target
