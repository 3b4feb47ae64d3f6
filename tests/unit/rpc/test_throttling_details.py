"""The throttled index and the reasons in errors, for callers who may see the index."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.catalog.schema import BASE_TABLE, Table
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.rpc.encode.status import RpcError, rpc_error_of
from tests.unit.query.tables import make_table

REASON = "IndexReadProvisionedThroughputExceeded"
TABLE = make_table()
_TEXT = "events is being throttled by DynamoDB"


def failure(table: Table | None, index: str | None = "by_user") -> RpcError:
    """Return the failure of a call on a table whose index is throttled."""
    error = BackendUnavailable(_TEXT)
    error.resource, error.reasons = index, (REASON, "other")
    return rpc_error_of(error, "request-1", table)


def test_the_index_and_the_reasons_are_in_the_error() -> None:
    """People read them in the message, programs in the metadata of ErrorInfo."""
    failed = failure(TABLE)
    assert dict(failed.metadata) == {
        "throttled_index": "by_user",
        "throttling_reasons": f"{REASON},other",
    }
    assert failed.message == f"{_TEXT} (by_user, {REASON},other)"


def test_the_table_itself_has_the_name_that_queries_give_it() -> None:
    """Every caller knows that there is a table."""
    hidden = TABLE.restricted_to(frozenset({"note"}), frozenset())
    assert dict(failure(hidden, BASE_TABLE).metadata)["throttled_index"] == "@table"


@pytest.mark.parametrize(
    "table",
    [
        TABLE.restricted_to(frozenset({"tenant_id", "event_id", "occurred_at"}), frozenset()),
        # The index is read for the caller, whose row rule fixes the part of its key that is hidden.
        TABLE.restricted_to(frozenset({"occurred_at"}), frozenset({"user_id"})),
        None,
    ],
    ids=["left out", "used unseen", "unknown access"],
)
def test_callers_who_may_not_see_the_index_do_not_learn_of_it(table: Table | None) -> None:
    """Callers share reads, so the error may be about an index of another caller's plan."""
    failed = failure(table)
    assert (failed.message, failed.metadata) == (_TEXT, ())


@pytest.mark.parametrize("index", ["unheard", None])
def test_an_index_that_is_not_in_the_catalog_is_not_named(index: str | None) -> None:
    """It may have been deleted since the read began."""
    failed = failure(TABLE, index)
    assert (failed.message, failed.metadata) == (_TEXT, ())


def test_other_failures_have_no_such_metadata() -> None:
    """They are those of the table as a whole."""
    failed = rpc_error_of(BackendUnavailable("no"), "request-1", TABLE)
    assert (failed.message, failed.metadata) == ("no", ())
