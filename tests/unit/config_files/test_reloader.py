"""Reloadable files: which new versions are used, which are refused, and their log entries."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import structlog
from pydantic import Field

from dynamodb_processor_server.config_files import ConfigDocument, ReloadableFile, StrictModel
from dynamodb_processor_server.errors import ConfigurationError
from tests.support.running import eventually

Logs: TypeAlias = list[MutableMapping[str, Any]]


class Zoo(StrictModel):
    """The model of a whole file."""

    name: str
    cages: dict[str, str] = Field(default_factory=dict)


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes the file and returns its path."""

    def _write(content: str) -> Path:
        path = tmp_path / "zoo.yaml"
        path.write_text(content)
        return path

    return _write


@pytest.fixture
def logs() -> Iterator[Logs]:
    """Yield the list of the log entries, which grows as they are written."""
    with structlog.testing.capture_logs() as captured:
        yield captured


def refusals(logs: Logs) -> list[str]:
    """Return the error texts of the refusals that were logged."""
    return ["\n".join(log["errors"]) for log in logs if log["event"] == "config_file_refused"]


class RecordingReloader:
    """A reloadable value with the changes that it has reported."""

    def __init__(self, path: Path) -> None:
        self.changes: list[str] = []
        self.value = ReloadableFile(path, _name_in)

    async def poll(self) -> None:
        """Read the file once."""
        await self.value.poll(self.changes.append)


def _name_in(document: ConfigDocument) -> str:
    return document.parse(Zoo).name


async def test_a_changed_file_gives_a_new_value(write: Write, logs: Logs) -> None:
    """A new version is reported once and becomes the current one; the same content is ignored."""
    reloader = RecordingReloader(write("name: a\n"))
    write("name: a\n")
    await reloader.poll()
    assert reloader.changes == []
    write("name: b\n")
    await reloader.poll()
    await reloader.poll()
    assert reloader.changes == ["b"]
    assert reloader.value.current == "b"
    assert refusals(logs) == []


async def test_a_bad_file_changes_nothing_and_is_logged_once(write: Write, logs: Logs) -> None:
    """Each bad version is logged once, however often it is read, and the old value stays."""
    path = write("name: a\n")
    reloader = RecordingReloader(path)
    for bad in ("name: 1\n", "name: 2\n", "name: a\n", "name: 2\n"):
        write(bad)
        await reloader.poll()
        await reloader.poll()
    assert [error.split(":")[1] for error in refusals(logs)] == ["1", "1", "1"]
    assert reloader.changes == []
    assert reloader.value.current == "a"


async def test_a_missing_file_changes_nothing_until_it_is_back(write: Write, logs: Logs) -> None:
    """A missing file is logged once; when it comes back with a change, the new value is used."""
    path = write("name: a\n")
    reloader = RecordingReloader(path)
    path.unlink()
    await reloader.poll()
    await reloader.poll()
    assert refusals(logs) == [f"{path}: cannot be read: No such file or directory"]
    write("name: b\n")
    await reloader.poll()
    assert reloader.value.current == "b"


async def test_the_swapped_links_of_a_config_map_are_followed(tmp_path: Path) -> None:
    """The swap of links by which Kubernetes replaces mounted files counts as a change."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "zoo.yaml").write_text(f"name: v{version}\n")
        # Only the content distinguishes the two files.
        os.utime(tmp_path / version / "zoo.yaml", ns=(0, 0))
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "zoo.yaml").symlink_to("..data/zoo.yaml")
    reloader = RecordingReloader(tmp_path / "zoo.yaml")
    (tmp_path / "..data_tmp").symlink_to("2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    await reloader.poll()
    assert reloader.changes == ["v2"]


async def test_a_file_that_is_being_written_is_left_for_later(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of two different reads in a row is used, though both would be valid."""
    reloader = RecordingReloader(write("name: a\n"))
    read = ConfigDocument.read
    contents = iter(["name: b", "name: bee\n", "name: bee\n", "name: bee\n"])
    monkeypatch.setattr(ConfigDocument, "read", lambda path: read(write(next(contents))))
    await reloader.poll()
    assert reloader.value.current == "a"
    await reloader.poll()
    assert reloader.value.current == "bee"


async def test_a_callback_may_refuse_a_value(write: Write, logs: Logs) -> None:
    """A value that the callback refuses does not become the current one."""
    reloader = RecordingReloader(write("name: a\n"))

    def refuse(name: str) -> None:
        raise ConfigurationError(f"{name} is not for us")

    write("name: b\n")
    await reloader.value.poll(refuse)
    assert reloader.value.current == "a"
    assert refusals(logs) == ["b is not for us"]


async def test_a_defect_is_logged_without_the_content(write: Write, logs: Logs) -> None:
    """An unforeseen error keeps the old value, and the log has only its type."""
    reloader = RecordingReloader(write("name: a\n"))

    def fail(name: str) -> None:
        raise KeyError(name)

    path = write("name: hunter2\n")
    await reloader.value.poll(fail)
    await reloader.value.poll(fail)
    assert reloader.value.current == "a"
    assert refusals(logs) == [f"{path}: cannot be applied: KeyError"]


async def test_the_watch_polls_at_its_interval_until_cancelled(write: Write) -> None:
    """Between two polls the watch sleeps for the given number of seconds."""
    reloader = RecordingReloader(write("name: a\n"))
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        naps.append(seconds)
        write(f"name: n{len(naps)}\n")
        if len(naps) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await reloader.value.watch(reloader.changes.append, every=7.0, sleep=sleep)
    assert naps == [7.0, 7.0, 7.0]
    assert reloader.changes == ["n1", "n2"]


async def test_a_check_can_be_requested(write: Write) -> None:
    """A requested check ends the pause; a request during a poll leads to another poll."""
    reloader = RecordingReloader(write("name: a\n"))
    seen: list[str] = []

    def adopt(name: str) -> None:
        seen.append(name)
        if name == "b":
            write("name: c\n")
            reloader.value.check_now()

    watching = asyncio.create_task(reloader.value.watch(adopt, every=86_400.0))
    await asyncio.sleep(0)
    write("name: b\n")
    reloader.value.check_now()
    await eventually(lambda: reloader.value.current == "c")
    assert seen == ["b", "c"]
    watching.cancel()
    await asyncio.wait((watching,))


async def test_watching_outlives_an_error_of_a_poll(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch goes on when no thread can be started, because a key may be withdrawn later."""
    reloader = RecordingReloader(write("name: a\n"))
    looks = 0

    async def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            patch.undo()
            write("name: b\n")
        elif looks == 3:
            raise asyncio.CancelledError

    async def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch, structlog.testing.capture_logs() as logs:
        patch.setattr(asyncio, "to_thread", refuse)
        with pytest.raises(asyncio.CancelledError):
            await reloader.value.watch(reloader.changes.append, sleep=sleep)
    assert [line["event"] for line in logs] == ["config_file_check_failed", "config_file_reloaded"]
    assert reloader.changes == ["b"]


async def test_changes_and_refusals_are_logged(write: Write) -> None:
    """A bad version is logged with file, line and field, and a good one with its digest."""
    path = write("name: a\n")
    value = ReloadableFile(path, _name_in)
    with structlog.testing.capture_logs() as logs:
        for content in ("name: a\ncages: 1\n", "name: b\n"):
            write(content)
            await value.poll(lambda _: None)
    assert logs == [
        {
            "event": "config_file_refused",
            "log_level": "error",
            "kept": "the version in force",
            "errors": [f"{path}:2: cages: must be a mapping of names to values"],
        },
        {
            "event": "config_file_reloaded",
            "log_level": "info",
            "file": str(path),
            "version": value.version[:12],
        },
    ]


def test_a_bad_file_at_the_start_is_an_error(write: Write) -> None:
    """There is no old version to keep at the start, so the error is raised."""
    with pytest.raises(ConfigurationError, match="name"):
        ReloadableFile(write("name: 1\n"), _name_in)


async def test_an_unreadable_file_is_logged_at_each_change_of_reason(
    write: Write, logs: Logs
) -> None:
    """While the file cannot be read, the value is not up to date; each reason is logged once."""
    path = write("name: a\n")
    reloader = RecordingReloader(path)
    assert reloader.value.is_up_to_date
    path.unlink()
    await reloader.poll()
    await reloader.poll()
    assert not reloader.value.is_up_to_date
    path.mkdir()
    await reloader.poll()
    await reloader.poll()
    reasons = refusals(logs)
    assert len(reasons) == 2
    assert "cannot be read" in reasons[0]
    assert "is not a regular file" in reasons[1]
    path.rmdir()
    write("name: a\n")
    await reloader.poll()
    assert reloader.value.is_up_to_date
    assert reloader.value.current == "a"
