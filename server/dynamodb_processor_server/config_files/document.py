"""Reads a configuration file and validates its content as a model."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from dynamodb_processor_server.config_files.errors import ConfigFileError, whole_file
from dynamodb_processor_server.config_files.model import StrictModel
from dynamodb_processor_server.config_files.yaml_tree import YamlDocument
from dynamodb_processor_server.runtime.descriptors import SPARE

MAX_DOCUMENT_BYTES: Final = 1 << 20

ModelT = TypeVar("ModelT", bound=StrictModel)


@dataclass(frozen=True, slots=True)
class ConfigDocument:
    """The content of a file at one moment."""

    path: Path
    content: bytes = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> ConfigDocument:
        """Return the file's present content.

        Raises:
            ConfigFileError: It is missing, unreadable, no regular file, or over 1 MiB.
        """
        try:
            # A pipe would block here. It also cannot be read again, which a reload has to do.
            if not stat.S_ISREG(path.stat().st_mode):
                raise whole_file(path, "is not a regular file")
            # A removed API key must stop working even when all file descriptors are in use.
            content = SPARE.use(partial(_read_bounded, path))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "the path is not usable"
            raise whole_file(path, f"cannot be read: {reason}") from None
        if len(content) > MAX_DOCUMENT_BYTES:
            raise whole_file(path, f"is larger than {MAX_DOCUMENT_BYTES} bytes")
        return cls(path, content)

    @property
    def version(self) -> str:
        """The SHA-256 of the content, in hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()

    def parse(self, model: type[ModelT], context: Mapping[str, Any] | None = None) -> ModelT:
        """Return the content as a `model`; validators of the model get `context`.

        Raises:
            ConfigFileError: It has every error of the first stage that fails. The stages are
                encoding, YAML, structure, and then the model's rules.
        """
        tree = YamlDocument(str(self.path), self.content)
        try:
            return model.model_validate(tree.value, context=context)
        except ValidationError as error:
            raise ConfigFileError(tree.issues_of(error, model)) from None


def _read_bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_DOCUMENT_BYTES + 1)
