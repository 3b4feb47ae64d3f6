"""The value of `--output`: the form of the results, or a file for them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, Literal, TypeAlias

from dynamodb_processor_client.assignments import utf8

Form: TypeAlias = Literal["table", "vertical", "jsonl", "json", "csv", "parquet"]
"""The form of results: columns or one attribute a line for people, the others for programs."""

Columns: TypeAlias = Sequence[str] | None
"""The attributes of items to write, in their order; None for all."""

VALUE_FORMS: Final[tuple[Form, ...]] = ("table", "vertical", "jsonl", "json")
ITEM_FORMS: Final[tuple[Form, ...]] = (*VALUE_FORMS, "csv", "parquet")
FILE_FORMS: Final[tuple[Form, ...]] = ("jsonl", "json", "csv", "parquet")
_SUFFIXES: Final[dict[str, Form]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".parquet": "parquet",
}


@dataclass(frozen=True, slots=True)
class Destination:
    """A form on standard output, or a file whose suffix or `--format` gives its form."""

    form: Form | None = None
    file: str = ""


def form_of(forms: tuple[Form, ...]) -> Callable[[str], Destination]:
    """Return the type of an argument that is one of `forms`."""

    def read(argument: str) -> Destination:
        for form in forms:
            if argument == form:
                return Destination(form)
        raise argparse.ArgumentTypeError(f"{argument!r} is no form: choose from {', '.join(forms)}")

    return read


def form_or_file(argument: str) -> Destination:
    """Return the destination for a form's name, or for the path of a file.

    Raises:
        ArgumentTypeError: The argument is a form's name with a typing error, most likely: it is
            neither a form nor has a suffix or a folder, as files have.
    """
    for form in ITEM_FORMS:
        if argument == form:
            return Destination(form)
    path = utf8(argument)
    suffix = _SUFFIXES.get(PurePath(path).suffix.lower())
    if suffix is None and not any(sign in path for sign in "./\\"):
        raise argparse.ArgumentTypeError(
            f"{argument!r} is neither a form ({', '.join(ITEM_FORMS)}) nor a file: a file has a "
            f"suffix ({', '.join(_SUFFIXES)}), or is written ./{argument} with --format"
        )
    return Destination(suffix, path)


def resolve(arguments: argparse.Namespace) -> Destination:
    """Return the destination of a command, with its form.

    Raises:
        ValueError: The form of a file is not known, or `--format` or `--resume` has no file.
    """
    given: Destination = arguments.output or Destination()
    form: Form | None = getattr(arguments, "format", None)
    if not given.file:
        for option in ("format", "resume"):
            if getattr(arguments, option, None):
                raise ValueError(f"--{option}: needs a file: --output FILE")
        return given
    if form is None and given.form is None:
        raise ValueError(
            f"--output: the suffix of {given.file} gives no form ({', '.join(_SUFFIXES)}): "
            f"give --format, one of {', '.join(FILE_FORMS)}"
        )
    return Destination(form or given.form, given.file)
