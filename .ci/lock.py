"""Writes the lock files from `pyproject.toml`: exact versions, with the hashes of all their files.

Run by `make lock`. `requirements/dev.txt` is resolved first and anew; each of the others starts
from its pins, and the script fails if any of them ends up with another version.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dynamodb_processor_server.demo.tool_cache import ToolCache

_ROOT = Path(__file__).resolve().parent.parent
_SCRATCH = _ROOT / "build" / "lock"
_TOOL_LOCKS = Path("server/dynamodb_processor_server/demo/locks")
_BENCH = Path("requirements/bench.txt")
_HEADER = "# Written by `make lock` from pyproject.toml. Do not edit.\n"
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ \\;]+)", re.MULTILINE)


def main() -> int:
    """Write every lock file; return 0, or 1 when their versions differ."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"]
    base = project["project"]["dependencies"]
    # The image can send traces.
    server = [*base, *extras["server"], *extras["tracing"]]
    # "The server, too" is the only entry of the demo's that is not a package of its own.
    demo = [
        *server,
        *(line for line in extras["demo"] if not line.startswith("dynamodb-processor")),
    ]
    build = list(_group(project, "build"))

    _SCRATCH.mkdir(parents=True, exist_ok=True)
    dev = Path("requirements/dev.txt")
    _compile(dev, [*demo, *_group(project, "dev")], seed=None)
    _compile(Path("requirements/build.txt"), build, seed=dev)
    _compile(Path("requirements/server.txt"), server, seed=dev)
    _compile(Path("requirements/demo.txt"), [*demo, *build], seed=dev)
    _compile(_BENCH, [*server, *_group(project, "bench")], seed=dev)
    for tools in ("deploy", "checkov", "audit"):
        # Their environment has nothing else, so no other lock has to agree with it.
        _compile(Path(f"requirements/{tools}.txt"), list(_group(project, tools)), seed=None)
    _compile_alone(Path("requirements/demo-data.txt"), list(_group(project, "demo-data")))
    _compile_alone(Path("requirements/generate.txt"), list(_group(project, "generate")))
    for tool in ("java", "node"):
        _compile_alone(_TOOL_LOCKS / f"{tool}.txt", list(_group(project, tool)))
    browser = "tests/support/browser"
    clients = ("clients/typescript", "clients/web", "tests/interop/clients")
    for folder in (*clients, ".ci/deploy/npm", f"{browser}/packages", f"{browser}/chromium"):
        _lock_npm(_ROOT / folder)
    files = [Path(f"requirements/{name}.txt") for name in ("build", "server", "demo", "bench")]
    return _compare(files, dev)


def _group(project: dict[str, Any], name: str) -> Iterator[str]:
    for entry in project["dependency-groups"][name]:
        if isinstance(entry, dict):
            yield from _group(project, entry["include-group"])
        else:
            yield entry


def _compile(target: Path, lines: list[str], *, seed: Path | None) -> None:
    source = _SCRATCH / f"{target.stem}.in"
    result = _SCRATCH / target.name
    source.write_text("\n".join(lines) + "\n", "utf-8")
    result.unlink(missing_ok=True)
    if seed is not None:
        # pip-compile keeps the pins of the file that it is about to replace.
        shutil.copyfile(_ROOT / seed, result)
    print(f"resolving {target}", flush=True)
    command = [sys.executable, "-m", "piptools", "compile", "--allow-unsafe", "--generate-hashes"]
    command += ["--strip-extras", "--no-header", "--no-emit-options", "--no-config", "--newline=lf"]
    command += ["--output-file", str(result), str(source)]
    log = _SCRATCH / f"{target.stem}.log"
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(
            command, env=_environment(), stdout=output, stderr=output, check=False
        )
    if done.returncode != 0:
        raise SystemExit(f"{target} could not be resolved; see {log.relative_to(_ROOT)}")
    text = result.read_text("utf-8").replace(f"-r {source.relative_to(_ROOT)}", "pyproject.toml")
    text = text.replace(f"-r {source}", "pyproject.toml")
    (_ROOT / target).write_text(f"{_HEADER}{text}", "utf-8")


def _compile_alone(target: Path, lines: list[str]) -> None:
    """Lock the named packages and none of their dependencies."""
    _compile(target, lines, seed=None)
    names = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in lines]
    stanzas = re.split(r"^(?=\S)", (_ROOT / target).read_text("utf-8"), flags=re.MULTILINE)
    kept = [stanza for stanza in stanzas if stanza.split("==", 1)[0] in names]
    (_ROOT / target).write_text(f"{_HEADER}{''.join(kept)}", "utf-8")


def _lock_npm(folder: Path) -> None:
    """Lock the packages that a folder's package.json names, without any address."""
    options = ["--package-lock-only", "--omit-lockfile-registry-resolved", "--ignore-scripts"]
    subprocess.run([*ToolCache().npm(), "install", *options, "--silent"], cwd=folder, check=True)
    file = folder / "package-lock.json"
    lock = json.loads(file.read_text("utf-8"))
    for package in lock["packages"].values():
        package.pop("funding", None)  # Addresses for donations.
    file.write_text(f"{json.dumps(lock, indent=2)}\n", "utf-8")


def _environment() -> dict[str, str]:
    """Return this process's environment without additions to the package index.

    Hashes of files that only the writer's machine can reach would enter everybody's lock.
    """
    additions = ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
    kept = {name: value for name, value in os.environ.items() if name not in additions}
    return kept | {"PIP_CONFIG_FILE": os.devnull}


def _compare(files: list[Path], dev: Path) -> int:
    pins = _pins(dev)
    differences = [
        f"{file}: {name}=={version}, but {dev} has {pins.get(name)}"
        for file in files
        for name, version in _pins(file).items()
        # The peers of the benchmark are in no other file.
        if pins.get(name, version if file == _BENCH else None) != version
    ]
    print("\n".join(differences) or f"{len(pins)} packages locked, one version each")
    return 1 if differences else 0


def _pins(file: Path) -> dict[str, str]:
    text = (_ROOT / file).read_text("utf-8")
    return {match["name"]: match["version"] for match in _PIN.finditer(text)}


if __name__ == "__main__":
    sys.exit(main())
