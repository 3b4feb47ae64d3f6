"""The `keys` command: making API keys."""

from __future__ import annotations

import argparse
import os
import stat
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import yaml
from pydantic import ValidationError

from dynamodb_processor_server.access.keys_file import (
    DEFAULT_RATE_CLASS,
    KeyEntry,
    KeysFile,
    new_key,
    render_entry,
)
from dynamodb_processor_server.documents import Document
from dynamodb_processor_server.errors import ConfigurationError

_DESCRIPTION = """\
Make a random API key. The key itself is the only thing on standard output, and is shown this once;
what goes into the keys file is its digest.
"""


def add_arguments(subparsers: Any) -> None:
    """Add the `keys` command to the subparsers of a parser."""
    keys = subparsers.add_parser("keys", help="make API keys")
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make one key", description=_DESCRIPTION)
    create.add_argument("--id", required=True, help="the key's name in logs, unique in the file")
    create.add_argument("--principal", required=True, help="who will call with it")
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
        help="what it is good for (default: reader); may be repeated",
    )
    create.add_argument(
        "--rate-class",
        default=DEFAULT_RATE_CLASS,
        metavar="NAME",
        help="its rate limits (default: %(default)s)",
    )
    create.add_argument(
        "--expires",
        type=_moment,
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


def run(args: argparse.Namespace, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Make a key: the key to `out`, all else to `err`; return the exit code.

    The default streams are the process's own. With a mistake nothing is made or changed, and the
    code is 2.
    """
    out, err = out or sys.stdout, err or sys.stderr
    text, digest = new_key()
    try:
        entry = _entry(args, digest)
        if args.append:
            _append(args.append, entry)
    except ConfigurationError as error:
        print(error, file=err)
        return 2
    if args.append:
        print(f"Added {entry.id} to {args.append}. The key, shown this once:", file=err)
    else:
        print(f"Add this to the keys file, under `keys:`\n\n{render_entry(entry)}", file=err)
        print("The key, shown this once:", file=err)
    # Standard error first, also where only one of the two is buffered.
    err.flush()
    print(text, file=out)
    return 0


def _moment(text: str) -> datetime:
    """Return the moment; a date is its first, and without a time zone it is in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("this is no ISO 8601 date or time") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= datetime.now(UTC):
        raise argparse.ArgumentTypeError("this is in the past")
    return moment.replace(microsecond=0)


def _entry(args: argparse.Namespace, digest: str) -> KeyEntry:
    try:
        return KeyEntry.model_validate(
            {
                "id": args.id,
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
            f"--{options.get(str(one['loc'][0]), one['loc'][0])}: {one['msg']}"
            for one in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError("\n".join(lines)) from None


def _append(path: Path, entry: KeyEntry) -> None:
    """Add an entry to the file, or change nothing and raise `ConfigurationError`."""
    before: tuple[KeyEntry, ...] = ()
    text = f"keys:\n{render_entry(entry)}"
    if path.exists():
        document = Document.read(path)
        before = document.parse(KeysFile).keys
        if any(other.id == entry.id for other in before):
            raise ConfigurationError(f"{path}: --id: {entry.id} is in the file already")
        text = _with_entry(document.content.decode("utf-8-sig"), entry)
    # What cannot be edited as text, such as a filled list in brackets, shows here.
    if _keys_in(path, text) != (*before, entry):
        reason = "cannot be appended to; run without --append, and add the entry by hand"
        raise ConfigurationError(f"{path}: {reason}")
    _replace(path, text)


def _keys_in(path: Path, text: str) -> tuple[KeyEntry, ...] | None:
    try:
        return Document(path, text.encode()).parse(KeysFile).keys
    except ConfigurationError:
        return None


def _with_entry(text: str, entry: KeyEntry) -> str:
    """Return the file's text with the entry behind the last one, all else as it was."""
    # The file is known to be valid: a mapping that ends with the list of keys.
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    listed = root.value[-1][1]
    if listed.flow_style and not listed.value:
        # `keys: []`
        start, end = listed.start_mark.index, listed.end_mark.index
        return f"{text[:start].rstrip()}\n{render_entry(entry).rstrip()}{text[end:]}"
    column = listed.start_mark.column
    return f"{text.rstrip()}\n{render_entry(entry, indent=column)}"


def _replace(path: Path, text: str) -> None:
    """Write the file so that a reader sees it as it was or as it is, never in between."""
    target = path.resolve()
    try:
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
        with tempfile.NamedTemporaryFile("wb", dir=target.parent, delete=False) as file:
            try:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), mode)
                Path(file.name).replace(target)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from None
