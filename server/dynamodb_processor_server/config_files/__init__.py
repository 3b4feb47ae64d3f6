"""YAML configuration files written by operators, validated as a whole.

Every error names the file, the line, the field and the reason. It never repeats a value, because a
value in the wrong field may be a secret.
"""

from __future__ import annotations

from dynamodb_processor_server.config_files.document import ConfigDocument
from dynamodb_processor_server.config_files.durations import duration
from dynamodb_processor_server.config_files.errors import ConfigFileError, ConfigIssue
from dynamodb_processor_server.config_files.model import (
    StrictModel,
    matching,
    non_empty,
    unique,
    validation_error,
)
from dynamodb_processor_server.config_files.reloader import (
    Reloadable,
    ReloadableFile,
    ReloadableFiles,
)
from dynamodb_processor_server.config_files.secret_text import SecretText

__all__ = [
    "ConfigDocument",
    "ConfigFileError",
    "ConfigIssue",
    "Reloadable",
    "ReloadableFile",
    "ReloadableFiles",
    "SecretText",
    "StrictModel",
    "duration",
    "matching",
    "non_empty",
    "unique",
    "validation_error",
]
