"""The state of a session: the freshness tokens of its answers, and the times of its user's writes.

A token covers the tokens that its call was sent with: its answer shows nothing older than theirs.
So it replaces them. Clients cannot compare the tokens of calls that overlapped, so they keep them
all, and the next call sends them all.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Final

from dynamodb_processor_client import argument_checks as check

#: Tokens of answers that overlapped, at most, for one table. The service accepts 100 in a request.
MAX_TOKENS: Final = 50

_ALL_TABLES: Final = ""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)
_MAX_TEXT: Final = 65_536  # characters
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+")


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def with_answer(tokens: Collection[str], covered: Collection[str], token: str) -> tuple[str, ...]:
    """Return tokens with that of an answer, and without those that it covers."""
    return (*(one for one in tokens if one != token and one not in covered), token)


class SessionState:
    """Tokens by table, and the time of the last write by table. Threads may share it."""

    def __init__(self, text: str = "", now: Callable[[], datetime] = utc_now) -> None:
        """Begin with nothing, or with the text of another session; `now` returns the time.

        Raises:
            TypeError: The text is not a string.
            ValueError: The text does not come from `to_text`.
        """
        self._now = now
        self._lock = Lock()
        self._tokens: dict[str, tuple[str, ...]] = {}
        self._written: dict[str, datetime] = {}
        self._shown: dict[str, datetime] = {}
        if check.text("token", text):
            self._tokens, self._written = _decoded(text)

    def bounds(self, table: str) -> tuple[tuple[str, ...], datetime | None]:
        """Return the tokens and the time that the next read of a table has to respect."""
        with self._lock:
            times = [self._written.get(name) for name in (table, _ALL_TABLES)]
            written = max((time for time in times if time is not None), default=None)
            if written is not None and self._is_shown(table, written):
                written = None
            return self._tokens.get(table, ()), written

    def record(
        self, table: str, covered: Collection[str], token: str, shown: datetime | None = None
    ) -> None:
        """Record the token of an answer to a call that was sent with the tokens `covered`.

        The answer shows every write before `shown`, and so do the answers that the token leads to.
        """
        with self._lock:
            if shown is not None and not self._is_shown(table, shown):
                self._shown[table] = shown
            tokens = with_answer(self._tokens.get(table, ()), covered, token)
            if len(tokens) > MAX_TOKENS:  # All answers so far were read before this moment.
                tokens = ()
                self._replace_by_time(table)
            self._tokens[table] = tokens

    def wrote(self, tables: Collection[str], at: datetime | None = None) -> None:
        """Record a write, by default one that has just finished; no table means all tables."""
        with self._lock:
            for table in tables or (_ALL_TABLES,):
                self._write(table, self._moment(table) if at is None else at)

    def forget(self, table: str, tokens: Collection[str]) -> None:
        """Replace tokens by the current time, which is later than their answers."""
        with self._lock:
            kept = self._tokens.get(table, ())
            self._tokens[table] = tuple(one for one in kept if one not in tokens)
            self._replace_by_time(table)

    def to_text(self) -> str:
        """Return the state as text of letters, digits, `-` and `_`; empty if there is nothing."""
        with self._lock:
            tokens = {table: list(kept) for table, kept in self._tokens.items() if kept}
            written = {
                table: _microseconds(time)
                for table, time in self._written.items()
                if not self._is_shown(table, time)
            }
        if not tokens and not written:
            return ""
        state = {"tokens": tokens, "written": written}
        data = json.dumps(state, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        return urlsafe_b64encode(data.encode()).decode().rstrip("=")

    def _is_shown(self, table: str, time: datetime) -> bool:
        return table in self._shown and time <= self._shown[table]

    def _replace_by_time(self, table: str) -> None:
        self._shown.pop(table, None)  # A token showed it.
        self._write(table, self._moment(table))

    def _moment(self, table: str) -> datetime:
        """Return a time for what has just happened: later than those before, in a table or in all.

        An answer may have shown those, but not what came after it. A clock may stand still for up
        to 0.1 s, and times of other services may be ahead of it.
        """
        names = self._written if table == _ALL_TABLES else (table, _ALL_TABLES)
        before = [self._written[name] for name in names if name in self._written]
        later = (min(time, _LATEST - _MICROSECOND) + _MICROSECOND for time in before)
        return max(self._now(), *later, _EPOCH)

    def _write(self, table: str, time: datetime) -> None:
        self._written[table] = max(time, self._written.get(table, time))


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def _decoded(text: str) -> tuple[dict[str, tuple[str, ...]], dict[str, datetime]]:
    if len(text) <= _MAX_TEXT:
        try:
            padded = text + "=" * (-len(text) % 4)
            data = json.loads(b64decode(padded, altchars=b"-_", validate=True))
            tokens = {table: _tokens(kept) for table, kept in _entries(data, "tokens")}
            written = {table: _time(time) for table, time in _entries(data, "written")}
        except (ValueError, RecursionError, OverflowError):
            pass
        else:
            return tokens, written
    raise ValueError("this is not the token of a session: begin one without a token")


def _entries(data: Any, name: str) -> Collection[tuple[str, Any]]:
    entries = data.get(name) if isinstance(data, Mapping) else None
    if not isinstance(entries, Mapping):
        raise ValueError(name)
    return entries.items()


def _tokens(kept: Any) -> tuple[str, ...]:
    if not isinstance(kept, list) or len(kept) > MAX_TOKENS:
        raise ValueError("tokens")
    if not all(isinstance(one, str) and _TOKEN.fullmatch(one) for one in kept):
        raise ValueError("tokens")
    return tuple(kept)


def _time(time: Any) -> datetime:
    if not isinstance(time, int) or isinstance(time, bool):
        raise ValueError("written")
    return _EPOCH + time * _MICROSECOND
