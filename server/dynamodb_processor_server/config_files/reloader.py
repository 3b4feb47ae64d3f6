"""Reloads a value when its configuration files, or the secrets that it is built from, change."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Generic, NoReturn, Protocol, TypeVar

import structlog

from dynamodb_processor_server.config_files.document import ConfigDocument
from dynamodb_processor_server.config_files.errors import whole_file
from dynamodb_processor_server.errors import ConfigurationError


class Contents(Protocol):
    """The contents of a source at one moment; equal contents have an equal version."""

    @property
    def version(self) -> str:
        """A digest of the contents, which is logged."""
        ...


C = TypeVar("C", bound=Contents)
T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Reloadable(Generic[C, T]):
    """A value built from the contents of a source, and built again when they change.

    New contents that cannot be used are logged, and the value in force stays.

    Attributes:
        current: The value in force.
        version: The version of the contents that it was built from.
        changes: The number of `reloaded` and of `refused` versions. An unreadable source counts as
            refused once for each reason.
    """

    def __init__(
        self,
        name: str,
        contents: C,
        read: Callable[[], Awaitable[C | None]],
        build: Callable[[C], T],
        *,
        retry_refused: bool = False,
        verify: Callable[[T], Awaitable[None]] | None = None,
    ) -> None:
        """Build the first value.

        Args:
            name: The name of the source in log lines: a path, or the name of a secret.
            contents: The present contents.
            read: Reads the contents again; None while they are being written. It raises
                `ConfigurationError` if they cannot be read.
            build: Builds the value; raises `ConfigurationError` to refuse the contents. It runs in
                a thread when they have changed.
            retry_refused: Whether the same contents that were refused may be accepted later, as
                those of a certificate that is not valid yet.
            verify: Awaited with a new value before it comes into force; raises `ConfigurationError`
                to refuse it. The first value is not verified.

        Raises:
            ConfigurationError: `build` refuses the contents.
        """
        self._name = name
        self._read = read
        self._build = build
        self._retry_refused = retry_refused
        self._verify = verify
        self._refused_version: str | None = None
        self._pause: asyncio.Timeout | None = None
        self._check_requested = False
        self.changes = Counter(reloaded=0, refused=0)
        self.current = build(contents)
        self.version = contents.version

    @property
    def is_up_to_date(self) -> bool:
        """Whether the value in force was built from the last version of the contents.

        False after a version was refused, and while the contents cannot be read.
        """
        return self._refused_version is None

    async def watch(
        self,
        on_change: Callable[[T], None],
        *,
        every: float = 5.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> NoReturn:
        """Poll the source every `every` seconds until cancelled."""
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
                _log.exception("config_file_check_failed", file=self._name)

    def check_now(self) -> None:
        """Make `watch` poll the source now instead of after its pause."""
        self._check_requested = True
        if self._pause is not None:
            self._pause.reschedule(0.0)

    async def poll(self, on_change: Callable[[T], None]) -> None:
        """Read the source once; on a change, build a value and pass it to `on_change`.

        `on_change` may refuse the value by raising `ConfigurationError`. Otherwise the value then
        becomes `current`.
        """
        try:
            contents = await self._read()
        except ConfigurationError as error:
            self._refuse(str(error), error)
            return
        if contents is None:
            return
        if contents.version == self.version:
            self._refused_version = None
        elif self._retry_refused or contents.version != self._refused_version:
            await self._adopt(contents, on_change)

    async def _adopt(self, contents: C, on_change: Callable[[T], None]) -> None:
        try:
            value = await asyncio.to_thread(self._build, contents)
            if self._verify is not None:
                await self._verify(value)
            on_change(value)
        except ConfigurationError as error:
            self._refuse(contents.version, error)
        except Exception as error:  # noqa: BLE001 - a defect in a callback must not end `watch`
            # The reason has the type alone: the text of an unforeseen error may repeat the file.
            reason = f"cannot be applied: {type(error).__name__}"
            self._refuse(contents.version, whole_file(Path(self._name), reason))
        else:
            self.current, self.version, self._refused_version = value, contents.version, None
            self.changes["reloaded"] += 1
            _log.info("config_file_reloaded", file=self._name, version=self.version[:12])

    def _refuse(self, version: str, error: ConfigurationError) -> None:
        """Count and log a refused version once."""
        if version != self._refused_version:
            self._refused_version = version
            self.changes["refused"] += 1
            _log.error(
                "config_file_refused",
                kept="the version in force",
                errors=str(error).splitlines(),
            )


class ReloadableFiles(Reloadable[C, T]):
    """A value built from files that belong together, and built again when one of them changes.

    Files are compared by content, not by modification time. Reading at most 1 MiB is simpler than
    handling coarse clocks, network file systems and the swapped links of a Kubernetes ConfigMap.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[], C],
        build: Callable[[C], T],
        *,
        retry_refused: bool = False,
        verify: Callable[[T], Awaitable[None]] | None = None,
    ) -> None:
        """Read the files and build the first value; see `Reloadable`.

        Args:
            path: The path that log lines name.
            read: Reads the files; raises `ConfigurationError` if that is not possible.
            build: As that of `Reloadable`.
            retry_refused: As that of `Reloadable`.
            verify: As that of `Reloadable`.

        Raises:
            ConfigurationError: The files cannot be read, or `build` refuses them.
        """
        super().__init__(
            str(path),
            read(),
            partial(_read_stable, read),
            build,
            retry_refused=retry_refused,
            verify=verify,
        )


async def _read_stable(read: Callable[[], C]) -> C | None:
    """Return the contents of files, None while they change: a part of a file may well be valid."""
    contents = await asyncio.to_thread(read)
    again = await asyncio.to_thread(read)
    return contents if contents == again else None


class ReloadableFile(ReloadableFiles[ConfigDocument, T]):
    """A value built from one file, and built again when the file changes."""

    def __init__(self, path: Path, build: Callable[[ConfigDocument], T]) -> None:
        """Read the file and build the first value; see `ReloadableFiles`."""
        super().__init__(path, lambda: ConfigDocument.read(path), build)
