"""The scripts that complete `ddbq` in a shell, written by shtab, which is optional."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from dynamodb_processor_client.arguments import command_parser
from dynamodb_processor_client.destinations import ITEM_FORMS, VALUE_FORMS


class CompletionUnavailable(Exception):
    """shtab is not installed."""


def completion_script(shell: str) -> str:
    """Return the script for a shell; it completes commands, options, forms and files.

    Raises:
        CompletionUnavailable: shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise CompletionUnavailable(
            f"completion needs shtab: pip install 'dynamodb-processor[completion]' ({error})"
        ) from None
    parser = command_parser()
    for action in _actions(parser):
        _complete(action, shtab.FILE)
    script: str = shtab.complete(parser, shell=shell)
    return script if script.endswith("\n") else f"{script}\n"


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list, shtab reads it too
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for command in action.choices.values():
                yield from _actions(command)


def _complete(action: argparse.Action, files: Any) -> None:
    """Add the values of an option, by its placeholder."""
    match action.metavar:
        case "FILE":
            action.complete = files  # type: ignore[attr-defined]  # an attribute of shtab's
        case "FORM":
            forms = ITEM_FORMS if action.help and "csv" in action.help else VALUE_FORMS
            action.choices = forms
        case "FORM|FILE":
            action.choices = ITEM_FORMS
            action.complete = files  # type: ignore[attr-defined]
