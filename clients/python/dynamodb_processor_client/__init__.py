"""The asynchronous Python client of the DynamoDB Processor.

The package imports a module when one of its names is first used. So `ddbq` can handle Ctrl-C before
the slow imports.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dynamodb_processor_client.caches import CacheCounters, CacheStats
    from dynamodb_processor_client.client import QueryClient
    from dynamodb_processor_client.column_types import FrameError
    from dynamodb_processor_client.counts import Count
    from dynamodb_processor_client.errors import (
        DeadlineExceeded,
        FailedPrecondition,
        Internal,
        InvalidArgument,
        NotFound,
        PermissionDenied,
        QueryError,
        ResourceExhausted,
        Unauthenticated,
        Unavailable,
        Violation,
    )
    from dynamodb_processor_client.explanations import AccessPath, Explanation, RejectedPath
    from dynamodb_processor_client.gets import FoundItems
    from dynamodb_processor_client.model_streams import ModelStream
    from dynamodb_processor_client.models import ItemMismatch, as_model
    from dynamodb_processor_client.options import Budget, CacheMode, CachePolicy
    from dynamodb_processor_client.pages import (
        CacheInfo,
        CacheStatus,
        Page,
        PageEnd,
        PageStats,
        Total,
    )
    from dynamodb_processor_client.query import Query
    from dynamodb_processor_client.resume_policy import ResumePolicy
    from dynamodb_processor_client.sessions import Session
    from dynamodb_processor_client.streams import ItemStream, PageStream
    from dynamodb_processor_client.tables import (
        Index,
        IndexKind,
        KeyAttribute,
        KeySchema,
        KeyType,
        Table,
        TableSummary,
    )
    from dynamodb_processor_client.tls import tls_credentials
    from dynamodb_processor_client.values import Item, Value

_NAMES: Final = {
    "caches": ("CacheStats", "CacheCounters"),
    "client": ("QueryClient",),
    "column_types": ("FrameError",),
    "counts": ("Count",),
    "errors": (
        "DeadlineExceeded",
        "FailedPrecondition",
        "Internal",
        "InvalidArgument",
        "NotFound",
        "PermissionDenied",
        "QueryError",
        "ResourceExhausted",
        "Unauthenticated",
        "Unavailable",
        "Violation",
    ),
    "explanations": ("AccessPath", "Explanation", "RejectedPath"),
    "gets": ("FoundItems",),
    "model_streams": ("ModelStream",),
    "models": ("ItemMismatch", "as_model"),
    "options": ("Budget", "CacheMode", "CachePolicy"),
    "pages": ("CacheInfo", "CacheStatus", "Page", "PageEnd", "PageStats", "Total"),
    "query": ("Query",),
    "resume_policy": ("ResumePolicy",),
    "sessions": ("Session",),
    "streams": ("ItemStream", "PageStream"),
    "tables": (
        "Index",
        "IndexKind",
        "KeyAttribute",
        "KeySchema",
        "KeyType",
        "Table",
        "TableSummary",
    ),
    "tls": ("tls_credentials",),
    "values": ("Item", "Value"),
}
_MODULES: Final = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "AccessPath",
    "Budget",
    "CacheCounters",
    "CacheInfo",
    "CacheMode",
    "CachePolicy",
    "CacheStats",
    "CacheStatus",
    "Count",
    "DeadlineExceeded",
    "Explanation",
    "FailedPrecondition",
    "FoundItems",
    "FrameError",
    "Index",
    "IndexKind",
    "Internal",
    "InvalidArgument",
    "Item",
    "ItemMismatch",
    "ItemStream",
    "KeyAttribute",
    "KeySchema",
    "KeyType",
    "ModelStream",
    "NotFound",
    "Page",
    "PageEnd",
    "PageStats",
    "PageStream",
    "PermissionDenied",
    "Query",
    "QueryClient",
    "QueryError",
    "RejectedPath",
    "ResourceExhausted",
    "ResumePolicy",
    "Session",
    "Table",
    "TableSummary",
    "Total",
    "Unauthenticated",
    "Unavailable",
    "Value",
    "Violation",
    "as_model",
    "tls_credentials",
]


def __getattr__(name: str) -> Any:
    """Import the module of a public name when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"dynamodb_processor_client.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
