"""The asynchronous client of the DynamoDB Processor."""

from __future__ import annotations

from dynamodb_processor_client.caches import CacheStats, CacheUse
from dynamodb_processor_client.client import QueryClient
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
from dynamodb_processor_client.options import Budget, CacheMode, CachePolicy
from dynamodb_processor_client.pages import CacheInfo, CacheStatus, Page, PageEnd, PageStats, Total
from dynamodb_processor_client.streams import ItemStream, PageStream, ResumePolicy
from dynamodb_processor_client.tables import (
    Index,
    IndexKind,
    KeyAttribute,
    KeySchema,
    KeyType,
    Table,
    TableSummary,
)
from dynamodb_processor_client.values import Item, Value

__all__ = [
    "AccessPath",
    "Budget",
    "CacheInfo",
    "CacheMode",
    "CachePolicy",
    "CacheStats",
    "CacheStatus",
    "CacheUse",
    "Count",
    "DeadlineExceeded",
    "Explanation",
    "FailedPrecondition",
    "Index",
    "IndexKind",
    "Internal",
    "InvalidArgument",
    "Item",
    "ItemStream",
    "KeyAttribute",
    "KeySchema",
    "KeyType",
    "NotFound",
    "Page",
    "PageEnd",
    "PageStats",
    "PageStream",
    "PermissionDenied",
    "QueryClient",
    "QueryError",
    "RejectedPath",
    "ResourceExhausted",
    "ResumePolicy",
    "Table",
    "TableSummary",
    "Total",
    "Unauthenticated",
    "Unavailable",
    "Value",
    "Violation",
]
