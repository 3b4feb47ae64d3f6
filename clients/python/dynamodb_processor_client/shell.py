"""`ddbq shell`: commands on one connection, with a history and completion.

Lines are edited with Python's `readline`, if Python has it. Without it, as on Windows, there is
neither history nor completion.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from dynamodb_processor_client.arguments import parse_arguments
from dynamodb_processor_client.client import QueryClient
from dynamodb_processor_client.exit_codes import BROKEN_PIPE, DONE, FAILED, USAGE
from dynamodb_processor_client.output import OutputFailed, flush, note
from dynamodb_processor_client.shell_completion import DELIMITERS, Catalog, complete

try:
    import readline
except ImportError:  # Windows
    readline = None  # type: ignore[assignment]

_PROMPT: Final = "ddbq> "
_HISTORY: Final = 1_000  # lines
_END: Final = ("exit", "quit")
_FIXED: Final = (
    *("target", "profile", "api_key", "bearer_token_file"),
    *("tls", "cacert", "cert", "cert_key", "server_name"),
)
_WELCOME: Final = "Commands as after `ddbq`, such as: tables. `exit` or Ctrl-D ends, Tab completes."

RunCommand = Callable[[QueryClient, argparse.Namespace], Awaitable[int]]


def run_shell(
    client: QueryClient,
    arguments: argparse.Namespace,
    run_command: RunCommand,
    environment: Mapping[str, str],
) -> int:
    """Run commands from standard input, and return the exit code.

    For a person it is 0. If standard input is no terminal, the first command that fails ends the
    shell with its code.
    """
    with asyncio.Runner() as runner:
        runner.run(client.__aenter__())
        try:
            shell = _Shell(client, arguments, run_command, runner)
            if sys.stdin.isatty():
                return shell.talk(history_path(environment))
            return shell.obey()
        finally:
            runner.run(client.__aexit__(None, None, None))


class _Shell:
    """One session, and the connection that its commands share."""

    def __init__(
        self,
        client: QueryClient,
        arguments: argparse.Namespace,
        run_command: RunCommand,
        runner: asyncio.Runner,
    ) -> None:
        self._client = client
        self._arguments = arguments
        self._run_command = run_command
        self._runner = runner

    def obey(self) -> int:
        """Run the lines of a script until one fails."""
        for line in sys.stdin:
            status = self._run(line)
            if status is None:
                return DONE
            if status != DONE:
                return status
        return DONE

    def talk(self, history: Path) -> int:
        """Run the lines that a person writes, and keep them in the file `history`."""
        note(_WELCOME)
        with suppress(EOFError), _Editing(self._completer(), history):
            while True:
                try:
                    line = input(_PROMPT)
                except KeyboardInterrupt:  # It clears the line.
                    note("")
                    continue
                if self._run(line) is None:
                    return DONE
        note("")
        return DONE

    def _run(self, line: str) -> int | None:
        """Run one line and return its exit code; None for the end of the shell."""
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            note(f"ddbq: {error}: quotes come in pairs")
            return USAGE
        if not words:
            return DONE
        if words[0] in _END:
            return None
        try:
            return self._run_words(words)
        except SystemExit as end:  # argparse has printed its help or an error.
            return end.code if isinstance(end.code, int) else FAILED
        except KeyboardInterrupt:
            note("interrupted")
            return FAILED
        except OutputFailed as error:
            note(f"ddbq: the output cannot be written: {error}")
            return FAILED
        except BrokenPipeError:
            return BROKEN_PIPE

    def _run_words(self, words: list[str]) -> int:
        arguments = parse_arguments(words)
        parser: argparse.ArgumentParser = arguments.parser
        if arguments.command in ("shell", "completion"):
            parser.error("not in the shell")
        if any(getattr(arguments, name) for name in _FIXED):
            parser.error("the connection is the shell's: give its options to `ddbq shell`")
        for name in ("target", "tls", "cert", "has_credential"):
            setattr(arguments, name, getattr(self._arguments, name))
        status = self._runner.run(self._run_in(arguments))
        flush()
        return status

    async def _run_in(self, arguments: argparse.Namespace) -> int:
        return await self._run_command(self._client, arguments)

    def _completer(self) -> Callable[[str, int], str | None]:
        catalog = Catalog(self._client, self._runner.run)
        found: list[str] = []

        def completer(text: str, number: int) -> str | None:
            if number == 0:
                # An exception would vanish in readline, and leave the terminal in disorder.
                with suppress(Exception):
                    line = readline.get_line_buffer()[: readline.get_endidx()]
                    found[:] = complete(line, text, catalog)
            return found[number] if number < len(found) else None

        return completer


class _Editing:
    """Sets readline up, with the history of earlier sessions, which it writes at the end."""

    def __init__(self, completer: Callable[[str, int], str | None], history: Path) -> None:
        self._completer = completer
        self._path = history

    def __enter__(self) -> None:
        if readline is None:
            return
        readline.set_completer(self._completer)
        readline.set_completer_delims(DELIMITERS)
        is_libedit = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
        readline.set_history_length(_HISTORY)
        with suppress(OSError):
            readline.read_history_file(self._path)

    def __exit__(self, *exception: object) -> None:
        if readline is None:
            return
        with suppress(OSError):  # A history is a convenience.
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Conditions may hold personal data, which other users are not to read.
            self._path.touch(mode=0o600)
            readline.write_history_file(self._path)


def history_path(environment: Mapping[str, str]) -> Path:
    """Return the path of the history, in the folder for state of the XDG specification."""
    base = environment.get("XDG_STATE_HOME", "")
    folder = Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "state"
    return folder / "ddbq" / "history"
