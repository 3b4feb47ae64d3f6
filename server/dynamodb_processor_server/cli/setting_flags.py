"""A flag for each setting that is no secret, and settings from flags and the environment."""

from __future__ import annotations

import argparse
from typing import Any, get_args

from pydantic import SecretStr, ValidationError

from dynamodb_processor_server.config_files.validation_messages import reason_of
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.serving_settings import ENVIRONMENT_PREFIX
from dynamodb_processor_server.settings import Settings


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


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the settings that flags and the environment give.

    Raises ConfigurationError with one line for each setting that is wrong.
    """
    given = {
        name: value
        for name in Settings.model_fields
        if (value := getattr(args, f"setting_{name}", None)) is not None
    }
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = []
        for details in error.errors(include_input=False, include_url=False):
            place = ".".join(str(part) for part in details["loc"])
            reason = reason_of(details)
            if details["type"] == "missing" and place in Settings.model_fields:
                reason += f": give {_flag(place)} or {ENVIRONMENT_PREFIX}{place.upper()}"
            lines.append(f"{place}: {reason}")
        raise ConfigurationError("\n".join(lines)) from None


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
