"""Reloads a value when its configuration file changes."""

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
    """A value built from a file, and built again when the file changes.

    A new version of the file that cannot be used is logged, and the value in force stays. The file
    is compared by content, not by modification time. Reading at most 1 MiB is simpler than handling
    coarse clocks, network file systems and the swapped links of a Kubernetes ConfigMap.
    """

    def __init__(self, path: Path, build: Callable[[ConfigDocument], T]) -> None:
        """Read the file and build the first value.

        Args:
            path: The file.
            build: Builds the value; raises `ConfigurationError` to refuse the file. It runs in a
                thread when the file has changed.

        Raises:
            ConfigurationError: The file cannot be read, or `build` refuses it.
        """
        document = ConfigDocument.read(path)
        self._path = path
        self._build = build
        self._refused_version: str | None = None
        self._pause: asyncio.Timeout | None = None
        self._check_requested = False
        self.current = build(document)
        self.version = document.version

    @property
    def is_up_to_date(self) -> bool:
        """Whether the value in force was built from the file's last version.

        False after a version was refused, and while the file cannot be read.
        """
        return self._refused_version is None

    async def watch(
        self,
        on_change: Callable[[T], None],
        *,
        every: float = 5.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> NoReturn:
        """Poll the file every `every` seconds until cancelled."""
        while True:
            if not self._check_requested:
                with suppress(TimeoutError):
                    async with asyncio.timeout(None) as self._pause:
                        await sleep(every)
                self._pause = None
            self._check_requested = False
            try:
                await self.poll(on_change)
            except Exception:  # noqa: BLE001 - there may be no free thread now; poll again later
                _log.exception("config_file_check_failed", file=str(self._path))

    def check_now(self) -> None:
        """Make `watch` poll the file now instead of after its pause."""
        self._check_requested = True
        if self._pause is not None:
            self._pause.reschedule(0.0)

    async def poll(self, on_change: Callable[[T], None]) -> None:
        """Read the file once; on a change, build a value and pass it to `on_change`.

        `on_change` may refuse the value by raising `ConfigurationError`. Otherwise the value then
        becomes `current`.
        """
        try:
            document = await asyncio.to_thread(ConfigDocument.read, self._path)
            again = await asyncio.to_thread(ConfigDocument.read, self._path)
        except ConfigurationError as error:
            self._refuse(str(error), error)
            return
        if document != again:
            return  # The file is being written, and a part of it may well be valid.
        if document.version == self.version:
            self._refused_version = None
        elif document.version != self._refused_version:
            await self._adopt(document, on_change)

    async def _adopt(self, document: ConfigDocument, on_change: Callable[[T], None]) -> None:
        try:
            value = await asyncio.to_thread(self._build, document)
            on_change(value)
        except ConfigurationError as error:
            self._refuse(document.version, error)
        except Exception as error:  # noqa: BLE001 - a defect in a callback must not end `watch`
            # The reason has the type alone: the text of an unforeseen error may repeat the file.
            reason = f"cannot be applied: {type(error).__name__}"
            self._refuse(document.version, whole_file(self._path, reason))
        else:
            self.current, self.version, self._refused_version = value, document.version, None
            _log.info("config_file_reloaded", file=str(self._path), version=self.version[:12])

    def _refuse(self, version: str, error: ConfigurationError) -> None:
        """Log a refused version once."""
        if version != self._refused_version:
            self._refused_version = version
            _log.error(
                "config_file_refused",
                kept="the version in force",
                errors=str(error).splitlines(),
            )
