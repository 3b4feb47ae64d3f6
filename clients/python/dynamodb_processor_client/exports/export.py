"""An export into a file, which a command continues after it was killed at any moment.

The items go into `FILE.ddbq-part`, and `FILE.ddbq-state` says how much of it counts, and which page
token follows. `FILE` itself appears, or is replaced, when it is complete:

1. The part is written, and flushed to the disk.
2. The state is replaced, so it never counts bytes that the disk may not have.
3. After the last page the state has the phase `read`; from here on nothing is read again.
4. The part is renamed to `FILE`, or converted into it and removed; then the state is removed.

A command that resumes cuts off the bytes that the state does not count. Their items are the ones
that follow the page token, so they come again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from dynamodb_processor_client.destinations import Columns, Form
from dynamodb_processor_client.exports import durable_files as disk
from dynamodb_processor_client.exports.errors import ExportError
from dynamodb_processor_client.exports.forms import convert
from dynamodb_processor_client.exports.parquet_form import ParquetUnavailable
from dynamodb_processor_client.exports.spool import SpoolError, frames
from dynamodb_processor_client.exports.state import (
    ExportState,
    StateError,
    query_digests,
)
from dynamodb_processor_client.exports.text_forms import text_form
from dynamodb_processor_client.query import Query
from dynamodb_processor_client.values import Item

# The pause between two checkpoints, in their durations: they take at most a twentieth of the time.
_PAUSES: Final = 20
_CHUNK: Final = 2**20


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a file: a query's items, their form, and the columns.

    Attributes:
        query: The query.
        form: The form of the file.
        columns: The columns; None for all attributes.
        leading: The attributes whose columns come first, if `columns` is None.
    """

    query: Query
    form: Form
    columns: Columns = None
    leading: Sequence[str] = ()


class Export:
    """One file and its two companions.

    Attributes:
        items: The number of items so far.
        resume_token: The token that continues after them; empty for the beginning.
        is_read: Whether all items are in the part, so that nothing is left but to `finish`.
    """

    def __init__(
        self, path: str, contents: Contents, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare an export; `clock` returns seconds, for the pauses between checkpoints."""
        self._path = Path(os.path.realpath(path))  # A link stays a link.
        self._part = self._path.with_name(f"{self._path.name}.ddbq-part")
        self._state = self._path.with_name(f"{self._path.name}.ddbq-state")
        self._contents = contents
        self._query = query_digests(contents.query)
        self._clock = clock
        self._text = text_form(contents.form, contents.columns)
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._size = 0
        self._saved: ExportState | None = None
        self._next_checkpoint = 0.0
        self.items = 0
        self.resume_token = ""
        self.is_read = False

    @property
    def remedy(self) -> str:
        """The way to give an unfinished export up."""
        return f"to start again, remove {self._part} and {self._state}"

    def begin(self, *, resume: bool) -> None:
        """Open the part: an empty one, or with `resume` the one of an unfinished export.

        Raises:
            ExportError: The export cannot begin or be resumed.
        """
        with self._typed_errors():
            self._check_path()
            if self._state.exists() and self._is_complete(resume=resume):
                self.is_read = True
                return
            self._file = disk.open_locked(self._part)
            try:
                self._start_or_restore(resume=resume)
            except BaseException:
                self.close()
                if not self._part.stat().st_size:
                    self._part.unlink()
                raise

    def add(self, items: Sequence[Item], resume_token: str) -> None:
        """Add a page: its items, and the token that follows them; empty after the last page.

        Raises:
            ExportError: The file cannot be written.
        """
        with self._typed_errors():
            if items:
                text = self._text
                self._write(text.items(items, self.items).encode() if text else frames(items))
                self.items += len(items)
            self.resume_token = resume_token
            self.is_read = not resume_token
            if self._clock() >= self._next_checkpoint:
                self._save()

    def checkpoint(self) -> None:
        """Write everything so far to the disk, to continue from here.

        Raises:
            ExportError: The file cannot be written.
        """
        with self._typed_errors():
            self._save()

    def finish(self) -> None:
        """Complete the file after the last page, and remove its companions.

        Raises:
            ExportError: The file cannot be written.
        """
        with self._typed_errors():
            if self._file is not None:
                self._save()
                self._complete(self._file)
            disk.remove(self._state)

    def close(self) -> None:
        """Close the part, which another command may then resume."""
        if self._file is not None:
            with suppress(OSError):  # Its last bytes do not count.
                self._file.close()
            self._file = None

    def discard_if_empty(self) -> None:
        """Remove the part if it has no items, and no state that would continue it."""
        if self._file is not None and self._saved is None and not self.items:
            self.close()
            disk.remove(self._part)

    def _check_path(self) -> None:
        folder = self._path.parent
        if not folder.is_dir():
            raise ExportError(
                f"there is no folder {folder}: make it with mkdir -p, or name another file"
            )
        if self._path.exists() and not self._path.is_file():
            raise ExportError(f"{self._path} is no file: write to it with > and a form")

    def _is_complete(self, *, resume: bool) -> bool:
        """Tell whether the file is complete, and only its state was left behind."""
        saved = self._load()
        if saved is None:  # Another process has just removed it.
            return False
        if not resume:
            raise ExportError(
                f"an unfinished export into {self._path} has {saved.items:,} items: continue it "
                f"with --resume; {self.remedy}"
            )
        if self._part.exists():
            return False
        if saved.phase == "read" and self._path.is_file():
            self._check_contents(saved)
            self.items = saved.items
            return True
        raise ExportError(f"{self._part} is missing; {self.remedy}")

    def _start_or_restore(self, *, resume: bool) -> None:
        saved = self._load()
        if saved is not None:
            self._restore(saved)
        elif resume and self._path.exists():
            raise ExportError(
                f"{self._path} exists, and no unfinished export into it: remove it, or leave "
                "--resume out to replace it"
            )
        else:
            self._opened.truncate(0)
            if self._text is not None:
                self._write(self._text.start().encode())

    def _load(self) -> ExportState | None:
        try:
            return ExportState.from_bytes(self._state.read_bytes())
        except FileNotFoundError:
            return None
        except StateError as error:
            raise ExportError(f"{self._state} cannot be used: {error}; {self.remedy}") from None

    def _restore(self, saved: ExportState) -> None:
        """Continue the export that the state describes."""
        self._check_contents(saved)
        file, left = self._opened, saved.size
        while left and (chunk := file.read(min(_CHUNK, left))):
            self._hash.update(chunk)
            left -= len(chunk)
        if left or self._hash.hexdigest() != saved.digest:
            raise ExportError(f"{self._part} was changed since it was written; {self.remedy}")
        file.truncate(saved.size)
        file.seek(saved.size)
        self._size, self._saved = saved.size, saved
        self.items, self.resume_token = saved.items, saved.resume_token
        self.is_read = saved.phase == "read"

    def _check_contents(self, saved: ExportState) -> None:
        contents = self._contents
        different = saved.different_options(contents.form, _listed(contents.columns), self._query)
        if different:
            raise ExportError(
                f"the unfinished export into {self._path} is of another query; different are: "
                f"{', '.join(different)}; {self.remedy}"
            )

    def _write(self, data: bytes) -> None:
        self._opened.write(data)
        self._hash.update(data)
        self._size += len(data)

    def _save(self) -> None:
        state = ExportState(
            form=self._contents.form,
            columns=_listed(self._contents.columns),
            query=self._query,
            phase="read" if self.is_read else "reading",
            resume_token=self.resume_token,
            items=self.items,
            size=self._size,
            digest=self._hash.hexdigest(),
        )
        if state == self._saved:
            return
        began = self._clock()
        disk.flush_to_disk(self._opened)
        disk.replace_with(self._state, state.to_bytes())
        self._saved = state
        ended = self._clock()
        self._next_checkpoint = ended + _PAUSES * (ended - began)

    def _complete(self, file: BinaryIO) -> None:
        if self._text is not None:
            file.write(self._text.end(self.items).encode())
            disk.flush_to_disk(file)
            self._replace_file(self._part)
            self.close()
            return
        scratch = self._path.with_name(f"{self._path.name}.ddbq-file")
        with disk.open_locked(scratch) as converted:
            converted.truncate(0)
            contents = self._contents
            convert(file, self._size, converted, contents.form, contents.columns, contents.leading)
            disk.flush_to_disk(converted)
        self._replace_file(scratch)
        self.close()
        disk.remove(self._part)

    def _replace_file(self, complete: Path) -> None:
        if os.name == "nt" and complete == self._part:
            self.close()  # Windows renames no open file.
        if self._path.exists():
            shutil.copymode(self._path, complete)
        disk.rename(complete, self._path)

    @property
    def _opened(self) -> BinaryIO:
        assert self._file is not None  # `begin` has opened it
        return self._file

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except disk.Occupied:
            raise ExportError(f"another process exports into {self._path}") from None
        except OSError as error:
            raise ExportError(f"{error.filename or self._part}: {error.strerror}") from error
        except ParquetUnavailable as error:
            raise ExportError(str(error)) from None
        except SpoolError as error:
            raise ExportError(f"{self._part}: {error}; {self.remedy}") from None


def _listed(columns: Columns) -> list[str] | None:
    return None if columns is None else list(columns)
