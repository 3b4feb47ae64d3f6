"""Files that operators write: YAML, checked as a whole, with every mistake at its line.

A mistake names the file, the line, the field and the reason, and never repeats a value: what an
operator puts in the wrong place may be a secret.
"""

from __future__ import annotations

from dynamodb_processor_server.config_files.document import (
    MAX_DOCUMENT_BYTES,
    ConfigDocument,
    load_document,
)
from dynamodb_processor_server.config_files.durations import duration
from dynamodb_processor_server.config_files.errors import ConfigFileError, ConfigIssue
from dynamodb_processor_server.config_files.model import (
    StrictModel,
    matching,
    non_empty,
    unique,
    validation_error,
)
from dynamodb_processor_server.config_files.reloader import ReloadableFile

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "ConfigDocument",
    "ConfigFileError",
    "ConfigIssue",
    "ReloadableFile",
    "StrictModel",
    "duration",
    "load_document",
    "matching",
    "non_empty",
    "unique",
    "validation_error",
]
