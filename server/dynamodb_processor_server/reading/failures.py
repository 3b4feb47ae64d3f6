"""What went wrong between us and DynamoDB, in the domain's words.

Sources: the DynamoDB developer guide's "Error handling" and botocore's exceptions.
"""

from __future__ import annotations

from typing import Final

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

from dynamodb_processor_server.errors import (
    BackendRefused,
    BackendUnavailable,
    PreconditionFailed,
    TableNotFound,
)

_THROTTLES: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "Throttling",
        "LimitExceededException",
    }
)
_NO_SUCH_INDEX: Final = "The table does not have the specified index"


def translate(error: Exception, table: str) -> Exception:
    """Return the domain's error for one of botocore's, raised while reading logical `table`."""
    if isinstance(error, ClientError):
        return _translate_answer(error, table)
    if isinstance(error, HTTPClientError | NoConnection | OSError):
        return BackendUnavailable(f"{table} cannot be reached at the moment")
    if isinstance(error, BotoCoreError):
        return BackendRefused(f"{type(error).__name__} while reading {table}: {error}")
    return error


def _translate_answer(error: ClientError, table: str) -> Exception:
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = error.response.get("Error", {}).get("Message", "")
    if code in _THROTTLES:
        return BackendUnavailable(f"{table} is being throttled by DynamoDB")
    if code == "ResourceNotFoundException":
        return TableNotFound(f"table {table} does not exist")
    if code == "ValidationException" and _NO_SUCH_INDEX in text:
        return PreconditionFailed("INDEX_GONE", table, "the index read so far no longer exists")
    if status >= 500 or code in ("InternalServerError", "ServiceUnavailable", "InternalFailure"):
        return BackendUnavailable(f"{table} cannot be read at the moment")
    return BackendRefused(f"{code} while reading {table}: {text}")
