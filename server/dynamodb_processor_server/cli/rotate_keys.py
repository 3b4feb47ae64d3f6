"""Rotates keys: makes a new token key, or a new API key beside an old one that then ends."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TextIO

from dynamodb_processor_server.auth.keys_file import KeyEntry, KeysFile, new_key
from dynamodb_processor_server.cli.keys_text import with_successor
from dynamodb_processor_server.cli.printing import NotShown, show
from dynamodb_processor_server.cli.secret_stores import FileStore, SecretsManagerStore, SecretStore
from dynamodb_processor_server.cli.token_keys_text import RotatedKeys, rotated_token_keys, time_text
from dynamodb_processor_server.config_files import ConfigDocument, SecretText
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.settings import Settings


async def rotate(
    args: argparse.Namespace,
    out: TextIO | None = None,
    err: TextIO | None = None,
    now: Callable[[], float] = time.time,
) -> int:
    """Rotate the keys in one store, and return the exit code.

    A new API key is printed to `out`; everything else to `err`, without any secret. Raises
    ConfigurationError if nothing was changed.
    """
    out, err = out or sys.stdout, err or sys.stderr
    if args.token_keys_file or args.token_keys_secret:
        store = _store_of(args.token_keys_file, args.token_keys_secret, "token_keys_secret")
        return await _rotate_token_keys(args, store, err, now())
    if args.key is None:
        raise ConfigurationError("--key: give the id of the API key to replace")
    store = _store_of(args.keys, args.keys_secret, "keys_secret")
    return await _rotate_api_key(args, store, out, err, now())


def _store_of(path: Path | None, name: str | None, setting: str) -> SecretStore:
    return FileStore(path) if path is not None else SecretsManagerStore(str(name), setting)


async def _rotate_token_keys(
    args: argparse.Namespace, store: SecretStore, err: TextIO, now: float
) -> int:
    document = await store.read()
    text = ""
    if document.content.strip():
        text = SecretText.of("token_keys", str(document.path), document.content).text
    lifetime = args.token_lifetime or Settings.model_fields["token_lifetime"].default
    rotated = rotated_token_keys(text, args.id, now, args.delay, lifetime)
    if not args.dry_run:
        await store.write(f"{rotated.text}\n")
    _report(document.path, rotated, err, dry_run=args.dry_run)
    return 0


def _report(path: Path, rotated: RotatedKeys, err: TextIO, *, dry_run: bool) -> None:
    begins = rotated.encrypts_from
    start = "at once" if begins is None else f"from {time_text(begins)} on"
    added = "would add" if dry_run else "added"
    print(f"{path}: {added} the key {rotated.added}, which encrypts {start}", file=err)
    if rotated.kept:
        print(f"kept, to decrypt: {', '.join(rotated.kept)}", file=err)
    if rotated.removed:
        ids = ", ".join(rotated.removed)
        print(f"removed, since their page tokens have expired: {ids}", file=err)
    if begins is not None and not dry_run:
        print(
            f"next: before {time_text(begins)}, see that every replica has read it: the log has "
            "config_file_reloaded, and `dynamodb-processor config` names the keys",
            file=err,
        )


async def _rotate_api_key(
    args: argparse.Namespace, store: SecretStore, out: TextIO, err: TextIO, now: float
) -> int:
    document = await store.read()
    before = document.parse(KeysFile)
    old = next((entry for entry in before.keys if entry.id == args.key), None)
    if old is None:
        raise ConfigurationError(f"{document.path}: --key: there is no API key {args.key}")
    if old.expires is not None and args.expires is None:
        raise ConfigurationError(f"--expires: {old.id} has an end, so its successor needs one")
    key, digest = new_key()
    new = old.model_copy(
        update={"id": _free_id(args.id, old, before), "digest": digest, "expires": args.expires}
    )
    ends = datetime.fromtimestamp(int(now + args.overlap), UTC)
    if old.expires is not None:
        ends = min(ends, old.expires)
    text = with_successor(document.content.decode("utf-8-sig"), old.id, new, ends)
    _check(document, before, text, old, new, ends)
    end = time_text(ends.timestamp())
    if args.dry_run:
        print(f"{document.path}: would add {new.id}; {old.id} would end at {end}", file=err)
        return 0

    def show_key() -> None:
        print(f"{document.path}: adding {new.id}. The key, shown this once:", file=err, flush=True)
        show(key, out)

    try:
        await store.write(text, show_key)
    except NotShown as error:
        print(f"{error}: no key was created", file=err)
        return 1
    print(f"{old.id} ends at {end}; next: give the new key to {new.principal} before", file=err)
    return 0


def _free_id(wanted: str | None, old: KeyEntry, file: KeysFile) -> str:
    if wanted is None:
        names = (f"{old.principal}-{number}" for number in count(1))
        return next(name for name in names if name not in file.ids)
    if wanted in file.ids:
        raise ConfigurationError(f"--id: {wanted} is in the file already")
    return wanted


def _check(
    document: ConfigDocument,
    before: KeysFile,
    text: str,
    old: KeyEntry,
    new: KeyEntry,
    ends: datetime,
) -> None:
    """Raise ConfigurationError unless the edited text is the file with the two changes alone."""
    at = before.keys.index(old)
    ended = old.model_copy(update={"expires": ends})
    after = (*before.keys[:at], ended, *before.keys[at + 1 :])
    after = (*after[: at + 1], new, *after[at + 1 :])
    try:
        parsed = ConfigDocument(document.path, text.encode()).parse(KeysFile)
    except ConfigurationError:
        parsed = None
    if parsed != before.model_copy(update={"keys": after}):
        raise ConfigurationError(
            f"{document.path}: cannot be edited; add the new key by hand: keys create without "
            "--append prints an entry"
        )
