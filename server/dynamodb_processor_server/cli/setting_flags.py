"""A flag for each setting that is no secret, and settings from flags and the environment."""

from __future__ import annotations

import argparse
from typing import Any, get_args

from pydantic import SecretStr, ValidationError

from dynamodb_processor_server.config_files.validation_messages import reason_of
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.serving_settings import ENVIRONMENT_PREFIX
from dynamodb_processor_server.settings import RENAMED, Settings, renamed_variables


def add_setting_flags(parser: argparse.ArgumentParser) -> None:
    """Give a sub-command a flag for each setting that is no secret."""
    for name, field in Settings.model_fields.items():
        if SecretStr in (field.annotation, *get_args(field.annotation)):
            continue
        alone: dict[str, Any] = {"nargs": "?", "const": "true"} if field.annotation is bool else {}
        parser.add_argument(
            _flag(name),
            dest=f"setting_{name}",
            metavar="VALUE",
            help=(field.description or "").replace("%", "%%"),
            **alone,
        )
    for name in RENAMED:
        parser.add_argument(
            _flag(name), dest=f"setting_{name}", nargs="?", const="",
            default=argparse.SUPPRESS, help=argparse.SUPPRESS,
        )  # fmt: skip


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the settings that flags and the environment give.

    Raises ConfigurationError with one line for each setting that is wrong or has an old name.
    """
    lines = _renamed(args)
    given = {
        name: value
        for name in Settings.model_fields
        if (value := getattr(args, f"setting_{name}", None)) is not None
    }
    try:
        settings = Settings(**given)
    except ValidationError as error:
        for details in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in details["loc"])
            reason = reason_of(details)
            if details["type"] == "missing" and name in Settings.model_fields:
                reason += f": give {_flag(name)} or {ENVIRONMENT_PREFIX}{name.upper()}"
            lines.append(f"{name}: {reason}")
    else:
        if not lines:
            return settings
    raise ConfigurationError("\n".join(lines))


def _renamed(args: argparse.Namespace) -> list[str]:
    """Return one line for each flag and variable that has the old name of a setting."""
    flags = [
        f"{_flag(old)} was renamed: give {_flag(new)} instead"
        for old, new in RENAMED.items()
        if hasattr(args, f"setting_{old}")
    ]
    variables = [
        f"{variable} was renamed: set {ENVIRONMENT_PREFIX}{RENAMED[old].upper()} instead"
        for variable, old in renamed_variables().items()
    ]
    return flags + variables


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
