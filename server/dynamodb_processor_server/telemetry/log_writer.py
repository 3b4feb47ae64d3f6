"""Writes log lines in a thread of its own: logging never waits for the file and never fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, Protocol

_MAX_QUEUED_BYTES: Final = 4 * 1024 * 1024
_RETRY_SECONDS: Final = 1.0  # after a write that failed
_FULL_SECONDS: Final = 0.05  # for a non-blocking file to have room again
_REPORT_SECONDS: Final = 1.0  # between reports of dropped lines, while lines go on being dropped


class OutputFile(Protocol):
    """The file that lines go to. A write may take a part of its data, as `io.FileIO` does."""

    def write(self, data: memoryview, /) -> int | None:
        """Write and return how many bytes were taken, None for none at the moment."""
        ...

    def flush(self) -> None:
        """Pass the written data on."""
        ...


class LogWriter:
    """A bounded queue of lines and the thread that writes them.

    A file that cannot be written at the moment (a full disk, a pipe that nobody reads) is tried
    again every second, from the byte at which it failed. Meanwhile lines wait, up to 4 MiB. Later
    lines are dropped and counted, and a line reports their number once the file takes bytes.
    """

    def __init__(self, file: OutputFile | None, report: Callable[[int], bytes]) -> None:
        """Create a writer whose thread starts with its first line.

        Args:
            file: Where lines go; None drops all of them, for a process without standard error.
            report: Makes the line that says how many lines were dropped.
        """
        self.dropped = 0
        self._file = file
        self._report = report
        self._reported = 0
        self._last_report = -_REPORT_SECONDS
        self._queue: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._queued_bytes = 0
        # Reentrant, as is the queue: a collected object may log while its thread logs.
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, data: bytes, lines: int = 1) -> None:
        """Write whole lines, soon."""
        with self._lock:
            if (
                self._file is None
                or self._queued_bytes >= _MAX_QUEUED_BYTES
                or not (self._thread or self._start())
            ):
                self.dropped += lines
                return
            self._queued_bytes += len(data)
        self._queue.put(data)

    def flush(self, timeout: float) -> bool:
        """Wait until all lines so far are written; return whether that took under `timeout` s."""
        if self._thread is None:
            return True
        written = threading.Event()
        self._queue.put(written)
        return written.wait(timeout)

    def close(self, timeout: float) -> None:
        """Write waiting lines, for at most `timeout` seconds; end the thread and drop the rest."""
        if self._thread is not None:
            self.flush(timeout)
            self._closing.set()
            self._queue.put(self._closing)
            self._thread = None
            self._file = None

    def _start(self) -> bool:
        # A daemon: a process does not wait at its end for a file that hangs.
        thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads at the moment
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        file = self._file
        assert file is not None
        while not self._closing.is_set():
            entry = self._queue.get()
            if isinstance(entry, threading.Event):
                entry.set()
                continue
            data = entry
            self._write_all(file, data)
            with self._lock:
                self._queued_bytes -= len(data)
            self._report_dropped(file)

    def _report_dropped(self, file: OutputFile) -> None:
        count = self.dropped - self._reported
        now = time.monotonic()
        if count and (not self._queued_bytes or now - self._last_report >= _REPORT_SECONDS):
            self._write_all(file, self._report(count))
            self._reported += count
            self._last_report = now

    def _write_all(self, file: OutputFile, data: bytes) -> None:
        """Write all of `data`, however long that takes; give up when the writer is closed."""
        rest = memoryview(data)
        while rest:
            pause = _FULL_SECONDS
            taken = None
            try:
                taken = file.write(rest)
                file.flush()
            except (OSError, ValueError):  # ValueError: it has been closed
                pause = _RETRY_SECONDS
            if taken:
                rest = rest[taken:]
            elif self._closing.wait(pause):
                return
