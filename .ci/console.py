"""Builds the web console, as static files, with the TypeScript client that is in this repository.

Run by `make console`. With `--check`, as by `make check`, type-checks it instead.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from dynamodb_processor_server.demo.tool_cache import ToolCache, ToolUnavailable

_ROOT: Final = Path(__file__).resolve().parent.parent
_CLIENT: Final = _ROOT / "clients/typescript"
_CONSOLE: Final = _ROOT / "clients/web"
_LINK: Final = "dynamodb-processor-client"


def main(arguments: list[str]) -> int:
    """Build or check; return 0 if all is well, else 1."""
    parser = argparse.ArgumentParser(prog=".ci/console.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="type-check, and write nothing")
    parser.add_argument(
        "--out", type=Path, default=_ROOT / "build/console", metavar="FOLDER",
        help="where the files are written (build/console)",
    )  # fmt: skip
    parser.add_argument(
        "--gateway", default="http://127.0.0.1:8080", metavar="URL",
        help="the gateway that the console calls, for its config.json (%(default)s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    cache = ToolCache(report=print)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = _prepare(cache, Path(scratch))
            _run(cache, folder, "typescript/bin/tsc", "--noEmit")
            if not options.check:
                _run(cache, folder, "vite/bin/vite.js", "build", "--logLevel", "warn")
                _publish(folder / "dist", options.out, options.gateway)
    except ToolUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError:
        return 1  # the program has said why
    return 0


def _prepare(cache: ToolCache, scratch: Path) -> Path:
    """Return a copy of the console's sources, with its packages and the compiled client."""
    client = scratch / "typescript"
    _copy(_CLIENT, client)
    packages = cache.npm_project("typescript", _CLIENT) / "node_modules"
    (client / "node_modules").symlink_to(packages)
    _run(cache, client, "typescript/bin/tsc", "-p", "tsconfig.build.json")

    console = scratch / "web"
    _copy(_CONSOLE, console)
    modules = console / "node_modules"
    modules.mkdir()
    for package in (_tools(cache, scratch / "tools") / "node_modules").iterdir():
        (modules / package.name).symlink_to(package)
    (modules / _LINK).symlink_to(client)
    return console


def _copy(source: Path, target: Path) -> None:
    built = shutil.ignore_patterns("node_modules", "dist", "build")
    shutil.copytree(source, target, ignore=built)


def _tools(cache: ToolCache, folder: Path) -> Path:
    """Return the folder of the locked packages but the client, which npm would look for."""
    folder.mkdir()
    package, lock = (_read(name) for name in ("package.json", "package-lock.json"))
    for holder in (package, lock["packages"][""]):
        del holder["dependencies"][_LINK]
    del lock["packages"][f"node_modules/{_LINK}"], lock["packages"]["../typescript"]
    for name, content in (("package.json", package), ("package-lock.json", lock)):
        (folder / name).write_text(json.dumps(content), "utf-8")
    return cache.npm_project("console", folder)


def _read(name: str) -> Any:
    return json.loads((_CONSOLE / name).read_text("utf-8"))


def _run(cache: ToolCache, folder: Path, program: str, *arguments: str) -> None:
    """Run a program of the packages.

    Raises:
        CalledProcessError: it failed.
    """
    command = [cache.node(), str(folder / "node_modules" / program), *arguments]
    subprocess.run(command, cwd=folder, check=True)


def _publish(built: Path, out: Path, gateway: str) -> None:
    """Replace the published files."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(built, out)
    (out / "config.json").write_text(json.dumps({"gateway": gateway}) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
