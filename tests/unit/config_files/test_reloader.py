"""Values that follow their files: what is adopted, what is refused, and what is told of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from pydantic import Field

from dynamodb_processor_server.config_files import ConfigDocument, ReloadableFile, StrictModel
from dynamodb_processor_server.errors import ConfigurationError
from tests.support.running import eventually


class Zoo(StrictModel):
    """A document."""

    name: str
    cages: dict[str, str] = Field(default_factory=dict)


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return what writes the document and gives its path."""

    def _write(content: str) -> Path:
        path = tmp_path / "zoo.yaml"
        path.write_text(content)
        return path

    return _write


class Followed:
    """A reloading value with everything that it told."""

    def __init__(self, path: Path) -> None:
        self.changes: list[str] = []
        self.refusals: list[ConfigurationError] = []
        self.value = ReloadableFile(path, _name_in, self.refusals.append)

    async def poll(self) -> None:
        """Look at the file once."""
        await self.value.poll(self.changes.append)


def _name_in(document: ConfigDocument) -> str:
    return document.parse(Zoo).name


async def test_a_changed_file_gives_a_new_value(write: Write) -> None:
    """A new version is told once and becomes the current one; the same content is not."""
    followed = Followed(write("name: a\n"))
    write("name: a\n")
    await followed.poll()
    assert followed.changes == []
    write("name: b\n")
    await followed.poll()
    await followed.poll()
    assert followed.changes == ["b"]
    assert followed.value.current == "b"
    assert followed.refusals == []


async def test_a_bad_file_changes_nothing_and_is_told_once(write: Write) -> None:
    """Each bad version is told once, however often it is seen, and the old value stays."""
    path = write("name: a\n")
    followed = Followed(path)
    for bad in ("name: 1\n", "name: 2\n", "name: a\n", "name: 2\n"):
        write(bad)
        await followed.poll()
        await followed.poll()
    assert [str(error).split(":")[1] for error in followed.refusals] == ["1", "1", "1"]
    assert followed.changes == []
    assert followed.value.current == "a"


async def test_a_missing_file_changes_nothing_until_it_is_back(write: Write) -> None:
    """A file that disappears is told once; when it comes back changed, it is adopted."""
    path = write("name: a\n")
    followed = Followed(path)
    path.unlink()
    await followed.poll()
    await followed.poll()
    assert [str(error) for error in followed.refusals] == [
        f"{path}: cannot be read: No such file or directory"
    ]
    write("name: b\n")
    await followed.poll()
    assert followed.value.current == "b"


async def test_the_swapped_links_of_a_config_map_are_followed(tmp_path: Path) -> None:
    """The way in which Kubernetes replaces mounted files is seen as a change."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "zoo.yaml").write_text(f"name: v{version}\n")
        # Nothing but the content tells the two apart.
        os.utime(tmp_path / version / "zoo.yaml", ns=(0, 0))
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "zoo.yaml").symlink_to("..data/zoo.yaml")
    followed = Followed(tmp_path / "zoo.yaml")
    (tmp_path / "..data_tmp").symlink_to("2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    await followed.poll()
    assert followed.changes == ["v2"]


async def test_a_file_that_is_being_written_is_left_for_later(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two reads that differ neither is taken, though both would be valid."""
    followed = Followed(write("name: a\n"))
    read = ConfigDocument.read
    contents = iter(["name: b", "name: bee\n", "name: bee\n", "name: bee\n"])
    monkeypatch.setattr(ConfigDocument, "read", lambda path: read(write(next(contents))))
    await followed.poll()
    assert followed.value.current == "a"
    await followed.poll()
    assert followed.value.current == "bee"


async def test_whoever_is_told_may_refuse(write: Write) -> None:
    """A value refused by the one who would use it does not become the current one."""
    followed = Followed(write("name: a\n"))

    def refuse(name: str) -> None:
        raise ConfigurationError(f"{name} is not for us")

    write("name: b\n")
    await followed.value.poll(refuse)
    assert followed.value.current == "a"
    assert [str(error) for error in followed.refusals] == ["b is not for us"]


async def test_a_defect_is_told_without_the_content(write: Write) -> None:
    """An unforeseen error keeps the old value, and only its type is told."""
    followed = Followed(write("name: a\n"))

    def fail(name: str) -> None:
        raise KeyError(name)

    path = write("name: hunter2\n")
    await followed.value.poll(fail)
    await followed.value.poll(fail)
    assert followed.value.current == "a"
    assert [str(error) for error in followed.refusals] == [f"{path}: cannot be applied: KeyError"]


async def test_the_watch_polls_at_its_interval_until_cancelled(write: Write) -> None:
    """Between two looks at the file it sleeps for as long as it was told to."""
    followed = Followed(write("name: a\n"))
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        naps.append(seconds)
        write(f"name: n{len(naps)}\n")
        if len(naps) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await followed.value.watch(followed.changes.append, every=7.0, sleep=sleep)
    assert naps == [7.0, 7.0, 7.0]
    assert followed.changes == ["n1", "n2"]


async def test_a_look_can_be_asked_for(write: Write) -> None:
    """Long before its time; one that is asked for during a look is made after it."""
    followed = Followed(write("name: a\n"))
    seen: list[str] = []

    def adopt(name: str) -> None:
        seen.append(name)
        if name == "b":
            write("name: c\n")
            followed.value.look_now()

    watching = asyncio.create_task(followed.value.watch(adopt, every=86_400.0))
    await asyncio.sleep(0)
    write("name: b\n")
    followed.value.look_now()
    await eventually(lambda: followed.value.current == "c")
    assert seen == ["b", "c"]
    watching.cancel()
    await asyncio.wait((watching,))


async def test_watching_outlives_what_goes_wrong_in_a_look(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when there is no thread for it: keys that are withdrawn later must end all the same."""
    followed = Followed(write("name: a\n"))
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
            await followed.value.watch(followed.changes.append, sleep=sleep)
    assert [line["event"] for line in logs] == ["file_not_looked_at", "document_reloaded"]
    assert followed.changes == ["b"]


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
            "event": "document_refused",
            "log_level": "error",
            "kept": "the version in force",
            "mistakes": [f"{path}:2: cages: must be a mapping of names to values"],
        },
        {
            "event": "document_reloaded",
            "log_level": "info",
            "file": str(path),
            "version": value.version[:12],
        },
    ]


def test_a_bad_file_at_the_start_is_an_error(write: Write) -> None:
    """There is no old version to keep at the start, so the error is raised."""
    with pytest.raises(ConfigurationError, match="name"):
        ReloadableFile(write("name: 1\n"), _name_in)


async def test_a_file_that_cannot_be_read_is_told_at_each_change_of_reason(write: Write) -> None:
    """While it cannot be read, what is in force is not in step; each reason is told once."""
    path = write("name: a\n")
    followed = Followed(path)
    assert followed.value.in_step
    path.unlink()
    await followed.poll()
    await followed.poll()
    assert not followed.value.in_step
    path.mkdir()
    await followed.poll()
    await followed.poll()
    reasons = [str(error) for error in followed.refusals]
    assert len(reasons) == 2
    assert "cannot be read" in reasons[0]
    assert "is not a regular file" in reasons[1]
    path.rmdir()
    write("name: a\n")
    await followed.poll()
    assert followed.value.in_step
    assert followed.value.current == "a"
