"""Named profiles of `ddbq`: the target, the options of TLS, and the source of the credential.

The file is `ddbq/config.toml` in `$XDG_CONFIG_HOME`, or in `~/.config`
(https://specifications.freedesktop.org/basedir-spec/latest/):

    [profiles.production]
    target = "dns:///reads.example.com:443"
    tls = true
    api_key_command = ["pass", "show", "ddbq/production"]

It holds no secret, but names the file or the command that gives it. A command runs without a shell.
"""

from __future__ import annotations

import argparse
import difflib
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_TEXTS: Final = ("target", "server_name")
_FILES: Final = ("cacert", "cert", "cert_key")
_SECRET_FILES: Final = ("api_key_file", "bearer_token_file")
_COMMANDS: Final = ("api_key_command", "bearer_token_command")
_KNOWN: Final = ("target", "tls", *_FILES, "server_name", *_SECRET_FILES, *_COMMANDS)
_SECRETS: Final = {"api_key": "api_key", "key": "api_key", "bearer_token": "bearer_token"}
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile: its values by name, and the source of its credential, if it has one.

    Attributes:
        name: Its name.
        options: Values of the options of the same names.
        source: The name of the value that gives the credential, such as `api_key_file`.
        file: The path of the file with the credential, if `source` is one.
        command: The command that prints the credential, if `source` is one.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    file: str = ""
    command: tuple[str, ...] = ()

    def fill(self, arguments: argparse.Namespace) -> None:
        """Set the options that the command line does not have."""
        for name, value in self.options.items():
            if not getattr(arguments, name):
                setattr(arguments, name, value)


def config_path(environment: Mapping[str, str]) -> Path:
    """Return the path of the configuration file."""
    base = environment.get("XDG_CONFIG_HOME", "")
    # The specification wants relative paths to be ignored.
    folder = Path(base) if Path(base).is_absolute() else Path.home() / ".config"
    return folder / "ddbq" / "config.toml"


def load_profile(name: str, environment: Mapping[str, str]) -> Profile:
    """Return a profile.

    Raises:
        ValueError: There is no such profile, the file cannot be used, or other users may write it.
    """
    path = config_path(environment)
    profiles = _read(path, name).get("profiles", {})
    if not isinstance(profiles, dict):
        raise ValueError(f"{path}: profiles is a table: [profiles.{name}]")
    if name not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        alike = difflib.get_close_matches(name, profiles, 1)
        hint = f"; is it {alike[0]}?" if alike else ""
        raise ValueError(f"--profile: {path} has no profile {name}; it has: {known}{hint}")
    values = profiles[name]
    if not isinstance(values, dict):
        raise ValueError(f"{path}: {name} is a table: [profiles.{name}]")
    try:
        return _profile(name, values, path.parent)
    except ValueError as error:
        raise ValueError(f"{path}: profile {name}: {error}") from None


def check_private(source: str, path: Path) -> None:
    """Check that other users cannot read a file with a secret.

    Raises:
        ValueError: They can; the text names `source` and the remedy. Windows has no such modes.
    """
    if os.name != "posix":
        return
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return  # The error of reading it has the reason.
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ValueError(f"{source}: other users can access {path}: chmod 600 {path}")


def _read(path: Path, name: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            _check_owner(path, os.fstat(file.fileno()))
            return tomllib.load(file)
    except FileNotFoundError:
        raise ValueError(f"--profile: {path} does not exist, so there is no {name}") from None
    except OSError as error:
        raise ValueError(f"--profile: {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"--profile: {path} is no TOML: {error}") from None


def _check_owner(path: Path, status: os.stat_result) -> None:
    """Refuse a file that others may write: it names commands that run as this user."""
    if os.name != "posix":
        return
    if status.st_mode & _WRITABLE_BY_OTHERS:
        raise ValueError(f"--profile: other users can write {path}: chmod go-w {path}")
    if status.st_uid not in (os.getuid(), 0):
        raise ValueError(f"--profile: {path} belongs to another user")


def _profile(name: str, values: Mapping[str, Any], folder: Path) -> Profile:
    for key in values:
        if key in _SECRETS:
            kind = _SECRETS[key]
            raise ValueError(
                f"{key}: the file holds no secrets: give {kind}_file or {kind}_command instead"
            )
        if key not in _KNOWN:
            alike = difflib.get_close_matches(key, _KNOWN, 1)
            hint = f"; is it {alike[0]}?" if alike else f"; known are: {', '.join(_KNOWN)}"
            raise ValueError(f"there is no {key}{hint}")
    options: dict[str, Any] = {key: _text(key, values[key]) for key in _TEXTS if key in values}
    options |= {key: _path(key, values[key], folder) for key in _FILES if key in values}
    if not isinstance(values.get("tls", False), bool):
        raise ValueError("tls is true or false")
    options["tls"] = values.get("tls", False)
    sources = [key for key in (*_SECRET_FILES, *_COMMANDS) if key in values]
    if len(sources) > 1:
        raise ValueError(f"{' and '.join(sources)} are given: keep one")
    source = sources[0] if sources else ""
    return Profile(
        name,
        options,
        source,
        _path(source, values[source], folder) if source in _SECRET_FILES else "",
        _command(source, values[source]) if source in _COMMANDS else (),
    )


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} is a text in quotes")
    return value


def _path(key: str, value: object, folder: Path) -> str:
    try:
        return str(folder / Path(_text(key, value)).expanduser())
    except RuntimeError:  # The user after `~` has no home.
        raise ValueError(f"{key}: the home folder of {value} is not known") from None


def _command(key: str, value: object) -> tuple[str, ...]:
    is_list = isinstance(value, list) and all(isinstance(word, str) for word in value)
    if not is_list or not value:
        raise ValueError(f'{key} is a list of words: ["pass", "show", "ddbq"]')
    assert isinstance(value, list)
    return tuple(value)
