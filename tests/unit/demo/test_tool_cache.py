"""Tests that each fetched program is complete or absent, verified, and fetched once."""

from __future__ import annotations

import base64
import hashlib
import io
import stat
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dynamodb_processor_server.demo import tool_cache
from dynamodb_processor_server.demo.tool_cache import NpmPackage, ToolCache, ToolUnavailable


def _tarball() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("package/hello.txt")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"hello"))
    return buffer.getvalue()


def _package(content: bytes) -> NpmPackage:
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    return NpmPackage("sample", "1.0.0", digest)


@pytest.fixture
def fake_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program named npm, first on PATH, that packs a prepared tarball and counts its calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "tarball").write_bytes(_tarball())
    program = folder / "npm"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> "{folder}/calls"\ncp "{folder}/tarball" ./sample-1.0.0.tgz\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_package_is_fetched_once(tmp_path: Path, fake_npm: Path) -> None:
    """The second request for a package finds it, and reports no fetch."""
    said: list[str] = []
    tools = ToolCache(tmp_path / "cache", said.append)
    package = _package((fake_npm / "tarball").read_bytes())

    first = tools.npm_package(package)
    second = tools.npm_package(package)

    assert first == second
    assert (first / "hello.txt").read_text() == "hello"
    assert (fake_npm / "calls").read_text() == "pack sample@1.0.0 --ignore-scripts\n"
    assert len(said) == 1


def test_altered_package_leaves_nothing_behind(tmp_path: Path, fake_npm: Path) -> None:
    """A tarball with another digest is refused, and the cache stays empty."""
    tools = ToolCache(tmp_path / "cache")
    package = _package(b"something else")

    with pytest.raises(ToolUnavailable, match="SHA-512 differs"):
        tools.npm_package(package)

    assert list((tmp_path / "cache").iterdir()) == []


def test_concurrent_requests_share_the_entry(tmp_path: Path, fake_npm: Path) -> None:
    """Concurrent requests get the same complete entry, and no scratch folder is left."""
    tools = ToolCache(tmp_path / "cache")
    package = _package((fake_npm / "tarball").read_bytes())

    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: tools.npm_package(package), range(8)))

    assert len(set(folders)) == 1
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == ["sample-1.0.0"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a lock of npm packages."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "package.json").write_text("{}")
    (folder / "package-lock.json").write_text('{"lockfileVersion": 3}')
    return folder


def test_locked_packages_are_fetched_once_for_each_lock(
    tmp_path: Path, fake_npm: Path, project: Path
) -> None:
    """They are installed without their scripts, in a folder that a changed lock leaves unused."""
    calls = fake_npm / "calls"
    (fake_npm / "npm").write_text(f'#!/bin/sh\necho "$@" >> "{calls}"\nmkdir node_modules\n')
    said: list[str] = []
    tools = ToolCache(tmp_path / "cache", said.append)

    first, second = (tools.npm_project("sample", project) for _ in range(2))
    (project / "package-lock.json").write_text('{"lockfileVersion": 2}')
    other = tools.npm_project("sample", project)

    assert first == second != other
    assert first.name.startswith("sample-")
    files = {"node_modules", "package.json", "package-lock.json"}
    assert {entry.name for entry in first.iterdir()} == files
    assert calls.read_text().splitlines() == ["ci --ignore-scripts --no-audit --no-fund"] * 2
    assert len(said) == 2


def test_packages_that_cannot_be_fetched_leave_nothing_behind(
    tmp_path: Path, fake_npm: Path, project: Path
) -> None:
    """An install that fails is quoted, and the next one starts anew."""
    (fake_npm / "npm").write_text("#!/bin/sh\nmkdir node_modules\necho 'no network' >&2\nexit 1\n")

    with pytest.raises(ToolUnavailable, match="npm ci failed:\nno network"):
        ToolCache(tmp_path / "cache").npm_project("sample", project)

    assert list((tmp_path / "cache").iterdir()) == []


def test_python_packages_are_installed_from_their_lock(tmp_path: Path) -> None:
    """The folder has the locked files, belongs to this Python, and a wrong hash leaves nothing."""
    wheel = tmp_path / "tool-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tool.py", "ANSWER = 42\n")
        archive.writestr(
            "tool-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tool\nVersion: 1.0"
        )
        archive.writestr("tool-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any")
        archive.writestr("tool-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = tmp_path / "tools.txt"
    lock.write_text(f"tool @ {wheel.as_uri()} --hash=sha256:{digest}\n")
    cache = ToolCache(tmp_path / "cache")
    folder = cache.python_packages(lock)
    assert (folder / "tool.py").read_text() == "ANSWER = 42\n"
    assert str(sys.implementation.cache_tag) in folder.name
    assert cache.python_packages(lock) == folder

    lock.write_text(f"tool @ {wheel.as_uri()} --hash=sha256:{'0' * 64}\n")
    with pytest.raises(ToolUnavailable, match="pip install failed"):
        cache.python_packages(lock)
    assert list(cache.root.iterdir()) == [folder]


def test_node_is_that_of_npm(tmp_path: Path, fake_npm: Path) -> None:
    """Scripts run on the Node.js of the machine whose npm installed their packages."""
    tools = ToolCache(tmp_path / "cache")
    (fake_npm / "node").write_text("#!/bin/sh\n")
    (fake_npm / "node").chmod(0o755)
    assert tools.node() == str(fake_npm / "node")


def test_an_npm_without_node_is_named(
    tmp_path: Path, fake_npm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the remedy."""
    monkeypatch.setenv("PATH", str(fake_npm))
    with pytest.raises(ToolUnavailable, match=r"install Node\.js"):
        ToolCache(tmp_path / "cache").node()


def test_failing_npm_is_quoted(tmp_path: Path, fake_npm: Path) -> None:
    """When npm fails, the error has the last lines of its output."""
    (fake_npm / "npm").write_text("#!/bin/sh\necho 'no such package' >&2\nexit 1\n")

    with pytest.raises(ToolUnavailable, match="no such package"):
        ToolCache(tmp_path / "cache").npm_package(_package(b""))


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_361"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ("The operation couldn't be completed.", None),
    ],
)
def test_java_version_is_read(tmp_path: Path, printed: str, version: int | None) -> None:
    """Old and new forms of Java's version are parsed, and a stub has no version."""
    java = tmp_path / "java"
    java.write_text(f'#!/bin/sh\ncat >&2 <<"EOF"\n{printed}\nEOF\n')
    java.chmod(0o755)

    assert tool_cache._java_version(str(java)) == version


def test_broken_java_has_no_version(tmp_path: Path) -> None:
    """A java that fails, or is none, counts as absent."""
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\nexit 1\n")
    java.chmod(0o755)

    assert tool_cache._java_version(str(java)) is None
    assert tool_cache._java_version(str(tmp_path / "absent")) is None


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_CACHE_HOME is followed when it is absolute, as its specification demands."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert tool_cache.user_cache() == Path("/caches/dynamodb-processor")

    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert tool_cache.user_cache() == Path.home() / ".cache" / "dynamodb-processor"
