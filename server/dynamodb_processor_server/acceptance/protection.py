"""Scenarios of health, keys, validation and limits."""

from __future__ import annotations

import asyncio
from typing import Final

from dynamodb_processor_client import (
    InvalidArgument,
    Query,
    QueryClient,
    QueryError,
    ResourceExhausted,
    Unauthenticated,
)
from dynamodb_processor_server.acceptance.scenario import (
    Deployment,
    NotRun,
    Scenario,
    Unmet,
    expect,
)

_BURST: Final = 200  # calls in progress at once, until one is refused
_BURSTS: Final = 25
_FOREIGN: Final = "bm90LWEtdG9rZW4"  # no token of the service


async def _health(deployment: Deployment) -> str:
    for name in ("liveness", "readiness"):
        status = await deployment.status_of(name)
        expect(status == "SERVING", f"{name} is {status}")
    return "liveness and readiness are SERVING"


async def _keys(deployment: Deployment) -> str:
    for what, key in (("no key", None), ("a wrong key", "not-a-key")):
        async with deployment.connect(key) as stranger:
            try:
                await stranger.query(deployment.query, page_size=1)
            except Unauthenticated:
                continue
            except QueryError as error:
                raise Unmet(f"a call with {what} fails with {error.code.name}") from error
            raise Unmet(f"a call with {what} is answered")
    return "no key and a wrong key are UNAUTHENTICATED"


async def _catalog(deployment: Deployment) -> str:
    tables = await deployment.client.tables()
    names = [table.name for table in tables]
    expect(deployment.table.name in names, "ListTables lacks the table")
    return f"{len(names)} tables"


async def _validation(deployment: Deployment) -> str:
    client, table = deployment.client, deployment.table.name
    await _refused(client, Query(table, "a = = 1"), "expression")
    await _refused(client, deployment.query, "page_size", page_size=-1)
    await _refused(client, deployment.query, "page_token", page_token=_FOREIGN)
    return "expression, page_size and page_token are named"


async def _refused(
    client: QueryClient, query: Query, field: str, *, page_size: int = 0, page_token: str = ""
) -> None:
    """Raise Unmet unless the call is INVALID_ARGUMENT and names the field."""
    try:
        await client.query(query, page_size=page_size, page_token=page_token)
    except InvalidArgument as error:
        subjects = [violation.subject for violation in error.violations]
        named = any(subject.rpartition(".")[2] == field for subject in subjects)
        expect(named, f"a wrong {field} is refused without naming the field")
        expect(error.request_id, f"a wrong {field} is refused without a request id")
    except QueryError as error:
        raise Unmet(f"a wrong {field} fails with {error.code.name}") from error
    else:
        raise Unmet(f"a wrong {field} is accepted")


async def _limits(deployment: Deployment) -> str:
    if deployment.limited_key is None:
        raise NotRun("set DDBQ_LIMITED_KEY to a key of a low rate class")
    async with deployment.connect(deployment.limited_key) as limited:
        for burst in range(1, _BURSTS + 1):
            calls = [limited.query(deployment.query, page_size=1) for _ in range(_BURST)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            refusals = [one for one in results if isinstance(one, ResourceExhausted)]
            if refusals:
                expect(refusals[0].retry_after, "a refusal does not say when to try again")
                return f"refused within {burst * _BURST} calls, with the time to wait"
    raise Unmet(f"{_BURSTS * _BURST} calls at once are all answered")


SCENARIOS: Final = (
    Scenario("health", "Liveness and readiness answer gRPC health checks.", _health),
    Scenario("keys", "Calls need a valid API key.", _keys),
    Scenario("catalog", "Callers can list and describe their tables.", _catalog),
    Scenario("validation", "A wrong request names its field.", _validation),
    Scenario("limits", "A rate class limits its principal.", _limits),
)
