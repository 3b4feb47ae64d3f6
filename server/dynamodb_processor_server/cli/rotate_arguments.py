"""Arguments of `keys rotate`, of which the other actions of `keys` load no more than these."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from dynamodb_processor_server.cli.printing import future_time
from dynamodb_processor_server.config_files.validation_messages import reason_of

_DESCRIPTION: Final = """\
Replace token keys (--token-keys-file or --token-keys-secret) or one API key (--keys or
--keys-secret, with --key). Servers that read the file or the secret notice the change, and no call
fails. A token key is added in front: servers decrypt with it at once and encrypt with it after
--delay. Earlier keys stay until their tokens have expired. An API key gets a successor with another
id and the same rights, which is printed once; the old one ends after --overlap. A file is replaced
as a whole; a secret gets a new current version.
"""
_WEEK: Final = 604_800.0


def add_rotate(actions: Any, run: Callable[[Coroutine[Any, Any, int]], int]) -> None:
    """Add the action to those of the `keys` command; `run` runs a coroutine."""
    parser = actions.add_parser("rotate", help="replace keys in use", description=_DESCRIPTION)
    store = parser.add_mutually_exclusive_group(required=True)
    store.add_argument("--token-keys-file", type=Path, metavar="FILE", help="file of token keys")
    store.add_argument(
        "--token-keys-secret", metavar="NAME", help="their secret in AWS Secrets Manager"
    )
    store.add_argument("--keys", type=Path, metavar="FILE", help="keys file")
    store.add_argument("--keys-secret", metavar="NAME", help="its secret in AWS Secrets Manager")
    parser.add_argument("--id", help="id of the new key (default: today's date, or a number)")
    parser.add_argument(
        "--delay", type=_seconds, default=600.0, metavar="SECONDS",
        help="until a new token key encrypts; every replica has to read it meanwhile "
        "(default: 10m)",
    )  # fmt: skip
    parser.add_argument(
        "--token-lifetime", type=_seconds, metavar="SECONDS",
        help="the setting token_lifetime of the servers (default: 24h)",
    )  # fmt: skip
    parser.add_argument("--key", metavar="ID", help="id of the API key to replace")
    parser.add_argument(
        "--overlap", type=_seconds, default=_WEEK, metavar="SECONDS",
        help="for which the old API key stays valid (default: 168h)",
    )  # fmt: skip
    parser.add_argument(
        "--expires", type=future_time, metavar="TIME",
        help="when the new API key ends; required if the old one has an end",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="change nothing, and make no key")
    parser.set_defaults(run=lambda args: _rotate(args, run))


def _rotate(args: argparse.Namespace, run: Callable[[Coroutine[Any, Any, int]], int]) -> int:
    from dynamodb_processor_server.cli.rotate_keys import rotate

    return run(rotate(args))


def _seconds(text: str) -> float:
    from dynamodb_processor_server.setting_types import Seconds

    try:
        return TypeAdapter(Seconds).validate_python(text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError(reason_of(error.errors()[0])) from None
