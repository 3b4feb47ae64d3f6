"""Tests of the log writer, which never waits for its file or fails, and reports dropped lines."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Iterator

import pytest

from dynamodb_processor_server.telemetry.log_writer import LogWriter

_LINE = b"x" * 1023 + b"\n"
_QUEUE = 4 * 1024  # lines of that size that wait at most
_PATIENCE = 120.0  # seconds, which only a writer that hangs reaches


class File:
    """A file that takes bytes only while `takes` is set, at most 700 at a time."""

    def __init__(self) -> None:
        self.taken = b""
        self.open = threading.Event()
        self.error: OSError | None = None
        self.writes = 0

    def write(self, data: memoryview, /) -> int | None:
        """Take some bytes, or fail."""
        self.writes += 1
        if self.error is not None:
            raise self.error
        self.open.wait()
        part = bytes(data[:700])
        self.taken += part
        return len(part)

    def flush(self) -> None:
        """Do nothing, as the file has no buffer."""


@pytest.fixture
def file() -> Iterator[File]:
    """A file that hangs until it is opened."""
    file = File()
    yield file
    file.open.set()


@pytest.fixture
def writer(file: File) -> Iterator[LogWriter]:
    """A writer of that file."""
    writer = LogWriter(file, lambda count: b"%d dropped\n" % count)
    yield writer
    file.error = None
    file.open.set()
    writer.close(_PATIENCE)


def test_lines_are_written_whole_and_in_order(file: File, writer: LogWriter) -> None:
    """Lines are complete even if the file takes only a part of each write."""
    file.open.set()
    lines = [b"%d %s" % (number, _LINE) for number in range(100)]
    for line in lines:
        writer.write(line)
    assert writer.flush(_PATIENCE)
    assert file.taken == b"".join(lines)
    assert writer.dropped == 0


def test_a_file_that_hangs_holds_nobody_up(file: File, writer: LogWriter) -> None:
    """Lines beyond the queue's bound are dropped; the file later gets their number."""
    for _ in range(_QUEUE + 50):
        writer.write(_LINE)
    writer.write(_LINE * 3, 3)
    assert writer.dropped == 53
    assert not writer.flush(0.01)
    file.open.set()
    assert writer.flush(_PATIENCE)
    assert file.taken.count(_LINE) == _QUEUE
    writer.write(b"later\n")
    assert writer.flush(_PATIENCE)
    assert file.taken.count(b"\n53 dropped\n") == 1
    assert file.taken.endswith(b"later\n")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE, errno.EBADF, errno.EIO])
def test_a_file_that_fails_is_tried_again(file: File, writer: LogWriter, number: int) -> None:
    """Nothing is raised, and nothing is lost once the file takes bytes again."""
    file.open.set()
    file.error = OSError(number, os.strerror(number))
    writer.write(b"first\n")
    writer.write(b"second\n")
    assert not writer.flush(0.01)
    file.error = None
    assert writer.flush(_PATIENCE)
    assert file.taken == b"first\nsecond\n"


def test_the_end_does_not_wait_for_a_file_that_hangs(file: File, writer: LogWriter) -> None:
    """The thread is left behind, and later lines are dropped."""
    writer.write(b"first\n")
    writer.close(0.01)
    writer.write(b"second\n")
    assert writer.dropped == 1


def test_the_end_writes_queued_lines(file: File, writer: LogWriter) -> None:
    """The writer writes the queued lines within the time that it has."""
    file.open.set()
    writer.write(b"first\n")
    writer.close(_PATIENCE)
    assert file.taken == b"first\n"


def test_without_a_file_all_lines_are_dropped() -> None:
    """Lines are dropped if standard error was closed before the process began."""
    writer = LogWriter(None, lambda count: b"")
    writer.write(b"first\nsecond\n", 2)
    assert writer.dropped == 2
    assert writer.flush(0)


def test_without_a_thread_lines_are_dropped(
    monkeypatch: pytest.MonkeyPatch, file: File, writer: LogWriter
) -> None:
    """A machine without a free thread at the moment may have one for the next line."""
    file.open.set()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        writer.write(b"first\n")
    assert writer.dropped == 1
    writer.write(b"second\n")
    assert writer.flush(_PATIENCE)
    assert file.taken == b"second\n1 dropped\n"


def test_a_collected_object_may_log_while_its_thread_logs(file: File) -> None:
    """A destructor may run at any allocation, while its thread holds any lock."""
    file.open.set()
    writer: LogWriter

    class Lines(bytes):
        def __len__(self) -> int:
            writer.write(b"inner\n")
            return super().__len__()

    writer = LogWriter(file, lambda count: b"")
    writer.write(Lines(b"outer\n"))
    assert writer.flush(_PATIENCE)
    assert sorted(file.taken.splitlines()) == [b"inner", b"inner", b"outer"]
    writer.close(_PATIENCE)


def test_a_file_of_python_is_written_to() -> None:
    """A file that takes all bytes at once gets the line."""
    file = io.BytesIO()
    writer = LogWriter(file, lambda count: b"")
    writer.write(b"first\n")
    writer.close(_PATIENCE)
    assert file.getvalue() == b"first\n"
