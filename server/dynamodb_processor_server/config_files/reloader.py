"""Reloads a value when its configuration files change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, NoReturn, Protocol, TypeVar

import structlog

from dynamodb_processor_server.config_files.document import ConfigDocument
from dynamodb_processor_server.config_files.errors import whole_file
from dynamodb_processor_server.errors import ConfigurationError


class Contents(Protocol):
    """The contents of files at one moment; equal contents have an equal version."""

    @property
    def version(self) -> str:
        """A digest of the contents."""
        ...


C = TypeVar("C", bound=Contents)
T = TypeVar("T")

_log = structlog.get_logger(__name__)


class ReloadableFiles(Generic[C, T]):
    """A value built from files that belong together, and built again when one of them changes.

    A new version of the files that cannot be used is logged, and the value in force stays. Files
    are compared by content, not by modification time. Reading at most 1 MiB is simpler than
    handling coarse clocks, network file systems and the swapped links of a Kubernetes ConfigMap.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[], C],
        build: Callable[[C], T],
        *,
        retry_refused: bool = False,
    ) -> None:
        """Read the files and build the first value.

        Args:
            path: The path that log lines name.
            read: Reads the files; raises `ConfigurationError` if that is not possible.
            build: Builds the value; raises `ConfigurationError` to refuse the files. It runs in a
                thread when a file has changed.
            retry_refused: Whether `build` may accept later the same contents that it refused, as
                those of a certificate that is not valid yet.

        Raises:
            ConfigurationError: The files cannot be read, or `build` refuses them.
        """
        contents = read()
        self._path = path
        self._read = read
        self._build = build
        self._retry_refused = retry_refused
        self._refused_version: str | None = None
        self._pause: asyncio.Timeout | None = None
        self._check_requested = False
        self.current = build(contents)
        self.version = contents.version

    @property
    def is_up_to_date(self) -> bool:
        """Whether the value in force was built from the last version of the files.

        False after a version was refused, and while a file cannot be read.
        """
        return self._refused_version is None

    async def watch(
        self,
        on_change: Callable[[T], None],
        *,
        every: float = 5.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> NoReturn:
        """Poll the files every `every` seconds until cancelled."""
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
        """Make `watch` poll the files now instead of after its pause."""
        self._check_requested = True
        if self._pause is not None:
            self._pause.reschedule(0.0)

    async def poll(self, on_change: Callable[[T], None]) -> None:
        """Read the files once; on a change, build a value and pass it to `on_change`.

        `on_change` may refuse the value by raising `ConfigurationError`. Otherwise the value then
        becomes `current`.
        """
        try:
            contents = await asyncio.to_thread(self._read)
            again = await asyncio.to_thread(self._read)
        except ConfigurationError as error:
            self._refuse(str(error), error)
            return
        if contents != again:
            return  # A file is being written, and a part of it may well be valid.
        if contents.version == self.version:
            self._refused_version = None
        elif self._retry_refused or contents.version != self._refused_version:
            await self._adopt(contents, on_change)

    async def _adopt(self, contents: C, on_change: Callable[[T], None]) -> None:
        try:
            value = await asyncio.to_thread(self._build, contents)
            on_change(value)
        except ConfigurationError as error:
            self._refuse(contents.version, error)
        except Exception as error:  # noqa: BLE001 - a defect in a callback must not end `watch`
            # The reason has the type alone: the text of an unforeseen error may repeat the file.
            reason = f"cannot be applied: {type(error).__name__}"
            self._refuse(contents.version, whole_file(self._path, reason))
        else:
            self.current, self.version, self._refused_version = value, contents.version, None
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


class ReloadableFile(ReloadableFiles[ConfigDocument, T]):
    """A value built from one file, and built again when the file changes."""

    def __init__(self, path: Path, build: Callable[[ConfigDocument], T]) -> None:
        """Read the file and build the first value; see `ReloadableFiles`."""
        super().__init__(path, lambda: ConfigDocument.read(path), build)
