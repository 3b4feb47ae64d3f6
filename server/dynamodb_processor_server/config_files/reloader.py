"""Values that follow their files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, NoReturn, TypeVar

import structlog

from dynamodb_processor_server.config_files.document import ConfigDocument
from dynamodb_processor_server.config_files.errors import whole_file
from dynamodb_processor_server.errors import ConfigurationError

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class ReloadableFile(Generic[T]):
    """A value built from a file, kept in step with the file; a bad new file changes nothing.

    Polled by content rather than by modification time: a file of at most 1 MiB is read sooner than
    a coarse clock, a network file system or the swapped links of a Kubernetes ConfigMap explained.
    """

    def __init__(
        self,
        path: Path,
        build: Callable[[ConfigDocument], T],
        on_refused: Callable[[ConfigurationError], None] | None = None,
    ) -> None:
        """Read the file and build the first value.

        Args:
            path: The file.
            build: Makes the value; raises `ConfigurationError` to refuse the file. Runs in a thread
                when the file changed.
            on_refused: Told once of each bad version; by default it is logged.

        Raises:
            ConfigurationError: The file cannot be read, or `build` refuses it.
        """
        document = ConfigDocument.read(path)
        self._path = path
        self._build = build
        self._on_refused = on_refused or _log_refusal
        self._refused: str | None = None
        self._pause: asyncio.Timeout | None = None
        self._due = False
        self.current = build(document)
        self.version = document.version

    @property
    def in_step(self) -> bool:
        """Whether the value in force is the file's, as far as it could be read last time."""
        return self._refused is None

    async def watch(
        self,
        on_change: Callable[[T], None],
        *,
        every: float = 5.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> NoReturn:
        """Look at the file every so many seconds until cancelled."""
        while True:
            if not self._due:
                with suppress(TimeoutError):
                    async with asyncio.timeout(None) as self._pause:
                        await sleep(every)
                self._pause = None
            self._due = False
            try:
                await self.poll(on_change)
            except Exception:  # noqa: BLE001 - no thread at the moment: the next turn may have one
                _log.exception("file_not_looked_at", file=str(self._path))

    def look_now(self) -> None:
        """Have `watch` check the file now instead of after its pause."""
        self._due = True
        if self._pause is not None:
            self._pause.reschedule(0.0)

    async def poll(self, on_change: Callable[[T], None]) -> None:
        """Look at the file once; `on_change` gets a new value before it becomes `current`.

        `on_change` may still refuse the value by raising `ConfigurationError`.
        """
        try:
            document = await asyncio.to_thread(ConfigDocument.read, self._path)
            again = await asyncio.to_thread(ConfigDocument.read, self._path)
        except ConfigurationError as error:
            self._refuse(str(error), error)
            return
        if document != again:
            return  # It is being written at this moment, and half a file may well be valid.
        if document.version == self.version:
            self._refused = None
        elif document.version != self._refused:
            await self._adopt(document, on_change)

    async def _adopt(self, document: ConfigDocument, on_change: Callable[[T], None]) -> None:
        try:
            value = await asyncio.to_thread(self._build, document)
            on_change(value)
        except ConfigurationError as error:
            self._refuse(document.version, error)
        except Exception as error:  # noqa: BLE001 - the watch outlives defects in what it calls
            # Only the type is told: the text of an unforeseen error may repeat the file.
            reason = f"cannot be applied: {type(error).__name__}"
            self._refuse(document.version, whole_file(self._path, reason))
        else:
            self.current, self.version, self._refused = value, document.version, None
            _log.info("document_reloaded", file=str(self._path), version=self.version[:12])

    def _refuse(self, version: str, error: ConfigurationError) -> None:
        if version != self._refused:
            self._refused = version
            self._on_refused(error)


def _log_refusal(error: ConfigurationError) -> None:
    _log.error("document_refused", kept="the version in force", mistakes=str(error).splitlines())
