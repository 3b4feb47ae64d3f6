"""The `keys` command: creates API keys, and keys that encrypt page tokens."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from dynamodb_processor_server.auth.keys_file import (
    DEFAULT_RATE_CLASS,
    KeyEntry,
    KeysFile,
    new_key,
    render_entry,
)
from dynamodb_processor_server.cli.keys_text import with_entry
from dynamodb_processor_server.cli.printing import NotShown, future_time, show
from dynamodb_processor_server.cli.rotate_arguments import add_rotate
from dynamodb_processor_server.cli.token_key import new_token_key
from dynamodb_processor_server.config_files import ConfigDocument
from dynamodb_processor_server.config_files.atomic_write import replace_file
from dynamodb_processor_server.config_files.validation_messages import reason_of
from dynamodb_processor_server.errors import ConfigurationError

_TOKEN_KEY_ID = re.compile(r"[A-Za-z0-9_.-]+")
_CREATE_DESCRIPTION = """\
Make a random API key. The key itself is the only output on standard output, and is shown only once.
The keys file gets its digest.
"""

_ABOUT_ENCRYPTION = """\
Make a random key that encrypts page tokens. It is the only output on standard output: the value of
DYNAMODB_PROCESSOR_TOKEN_KEYS, the same for all replicas. `keys rotate` replaces keys in a file or a
secret.
"""


def add_actions(
    parser: argparse.ArgumentParser, run_async: Callable[[Coroutine[Any, Any, int]], int]
) -> None:
    """Add the actions of the `keys` command to its parser; `run_async` runs a coroutine."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    token_key = actions.add_parser(
        "token-key", help="make a key for token_keys", description=_ABOUT_ENCRYPTION
    )
    token_key.add_argument(
        "--id",
        type=_token_key_id,
        default=f"{datetime.now(UTC):%Y-%m-%d}",
        help="its name in the tokens, 1 to 32 bytes (default: today's date)",
    )
    token_key.set_defaults(run=make_token_key)
    create = actions.add_parser("create", help="make one API key", description=_CREATE_DESCRIPTION)
    create.add_argument(
        "--id",
        help="the key's name in logs, unique in the file (default: the principal and a number)",
    )
    create.add_argument("--principal", required=True, help="the caller that will use it")
    create.add_argument(
        "--table",
        required=True,
        action="append",
        metavar="NAME",
        help="a table it may read, or a pattern such as 'audit-*'; may be repeated",
    )
    create.add_argument(
        "--role",
        action="append",
        choices=("reader", "admin"),
        help="the services it may call (default: reader); may be repeated",
    )
    create.add_argument(
        "--rate-class",
        default=DEFAULT_RATE_CLASS,
        metavar="NAME",
        help="its rate limits (default: %(default)s)",
    )
    create.add_argument(
        "--expires",
        type=future_time,
        metavar="TIME",
        help="when it ends, as 2027-01-01 or 2027-01-01T12:00:00Z (default: never)",
    )
    create.add_argument(
        "--append",
        type=Path,
        metavar="FILE",
        help="add the entry to this keys file, made if it does not exist",
    )
    create.set_defaults(run=run)
    add_rotate(actions, run_async)


def make_token_key(args: argparse.Namespace, out: TextIO | None = None) -> int:
    """Print a new entry of the setting `token_keys`; return the exit code."""
    try:
        show(new_token_key(args.id), out or sys.stdout)
    except NotShown as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _token_key_id(text: str) -> str:
    if not 1 <= len(text.encode()) <= 32 or not _TOKEN_KEY_ID.fullmatch(text):
        raise argparse.ArgumentTypeError("must be 1 to 32 of the characters A-Z a-z 0-9 _ . -")
    return text


def run(args: argparse.Namespace, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Create a key: print the key to `out`, everything else to `err`; return the exit code.

    The default streams are those of the process. On an error nothing is created or changed, and the
    code is 2, or 1 if the key cannot be printed.
    """
    out, err = out or sys.stdout, err or sys.stderr
    text, digest = new_key()

    def reveal(line: str) -> None:
        # Flushed so that standard error comes first even if only one of the streams is buffered.
        print(f"{line}The key, shown this once:", file=err, flush=True)
        show(text, out)

    try:
        entry = _entry(args, digest, args.id or _free_id(args))
        if args.append:
            # Nobody could use the entry of a key that nobody has seen.
            _append(args.append, entry, lambda: reveal(f"Adding {entry.id} to {args.append}. "))
        else:
            reveal(f"Add this to the keys file, under `keys:`\n\n{render_entry(entry)}\n")
    except ConfigurationError as error:
        print(error, file=err)
        return 2
    except NotShown as error:
        print(f"{error}: no key was created", file=err)
        return 1
    return 0


def _free_id(args: argparse.Namespace) -> str:
    """Return the principal's name with the first number that makes an id unused in the file."""
    taken: set[str] = set()
    if args.append and args.append.exists():
        taken = ConfigDocument.read(args.append).parse(KeysFile).ids
    names = (f"{args.principal}-{number}" for number in count(1))
    return next(name for name in names if name not in taken)


def _entry(args: argparse.Namespace, digest: str, key_id: str) -> KeyEntry:
    try:
        return KeyEntry.model_validate(
            {
                "id": key_id,
                "principal": args.principal,
                "digest": digest,
                "roles": args.role or ("reader",),
                "tables": args.table,
                "rate_class": args.rate_class,
                "expires": args.expires,
            }
        )
    except ValidationError as error:
        options = {"roles": "role", "tables": "table", "rate_class": "rate-class"}
        lines = (
            f"--{options.get(str(one['loc'][0]), one['loc'][0])}: {reason_of(one)}"
            for one in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError("\n".join(lines)) from None


def _append(path: Path, entry: KeyEntry, before_adding: Callable[[], None]) -> None:
    """Add an entry to the file, or change nothing and raise `ConfigurationError`."""
    before = KeysFile(keys=())
    text = f"keys:\n{render_entry(entry)}"
    if path.exists():
        document = ConfigDocument.read(path)
        before = document.parse(KeysFile)
        if entry.id in before.ids:
            raise ConfigurationError(f"{path}: --id: {entry.id} is in the file already")
        text = with_entry(document.content.decode("utf-8-sig"), entry)
    # Detects a file that cannot be edited as text, such as one with a non-empty list in brackets.
    if _parsed(path, text) != before.model_copy(update={"keys": (*before.keys, entry)}):
        reason = "cannot be appended to; run without --append, and add the entry by hand"
        raise ConfigurationError(f"{path}: {reason}")
    replace_file(path, text, before_adding)


def _parsed(path: Path, text: str) -> KeysFile | None:
    try:
        return ConfigDocument(path, text.encode()).parse(KeysFile)
    except ConfigurationError:
        return None
