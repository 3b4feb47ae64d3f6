"""Files that operators write: YAML, checked as a whole, with every mistake at its line.

A mistake names the file, the line, the field and the reason, and never repeats a value: what an
operator puts in the wrong place may be a secret.
"""

from __future__ import annotations

from dynamodb_processor_server.config_files.document import (
    MAX_DOCUMENT_BYTES,
    Document,
    load_document,
)
from dynamodb_processor_server.config_files.durations import duration
from dynamodb_processor_server.config_files.errors import DocumentError, Mistake
from dynamodb_processor_server.config_files.model import (
    Declared,
    distinct,
    filled,
    matching,
    mistaken,
)
from dynamodb_processor_server.config_files.reloader import Reloading

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "Declared",
    "Document",
    "DocumentError",
    "Mistake",
    "Reloading",
    "distinct",
    "duration",
    "filled",
    "load_document",
    "matching",
    "mistaken",
]
