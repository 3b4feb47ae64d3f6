"""A client of DynamoDB that plays a script, and a backend that calls it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from botocore.exceptions import ClientError

from dynamodb_processor_server.dynamodb.backend import (
    Answer,
    Backend,
    BackendSettings,
    RequestTarget,
)
from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.runtime.circuit_breaker import BreakerSettings, CircuitState
from tests.support.reads import CALLER

EVENTS = RequestTarget("events", "eu-west-1", "a role")
CONTENT = {"Items": ()}


def refusal(code: str, status: int = 400, **headers: str) -> ClientError:
    """Return an error that DynamoDB answers with; `_` stands for `-` in names of headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response: Any = {
        "Error": {"Code": code, "Message": ""},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": named},
    }
    return ClientError(response, "Query")


def throttled_by(reason: str, *resources: str, **headers: str) -> ClientError:
    """Return a throttling error whose reason names resources, such as `table/t/index/i`."""
    error = refusal("ThrottlingException", 400, **headers)
    response: Any = error.response
    response["throttlingReasons"] = [
        {"reason": reason, "resource": f"arn:aws:dynamodb:eu-west-1:123456789012:{resource}"}
        for resource in resources
    ]
    return error


THROTTLED = refusal("ThrottlingException")
FAILED = refusal("ServiceUnavailable", 503)


def state_of(backend: Backend, table: str, resource: str = "") -> CircuitState:
    """Return the state of the breaker of a table, or of one of its resources."""
    return {(name, each): state for name, each, state in backend.breakers.states()}[table, resource]


@dataclass
class Script:
    """A client and its provider: an error is raised, a number is a wait of so many seconds first.

    After the script every request succeeds. `asked` has the times of the requests.
    """

    steps: Sequence[Exception | float] = ()
    asked: list[float] = field(default_factory=list)
    renewed: list[tuple[str | None, str | None]] = field(default_factory=list)

    async def client(self, region: str | None, role_arn: str | None) -> Script:
        """Return the client."""
        return self

    def renew_credentials(self, region: str | None, role_arn: str | None) -> None:
        """Count a request for renewed credentials."""
        self.renewed.append((region, role_arn))

    async def play(self, client: Any) -> dict[str, Any]:
        """Do the next step."""
        assert client is self
        self.asked.append(asyncio.get_running_loop().time() - 1_000.0)
        number = len(self.asked) - 1
        match self.steps[number] if number < len(self.steps) else 0.0:
            case Exception() as error:
                raise error
            case seconds:
                await asyncio.sleep(seconds)
        return CONTENT

    def backend(self, attempts: int = 3, jitter: float = 1.0, breaks_at: int = 1_000) -> Backend:
        """Return a backend that calls the script; its breakers open after so many failures."""
        breaker = BreakerSettings(minimum_calls=breaks_at, open_seconds=2.0)
        settings = BackendSettings(attempts, attempt_timeout=2.0, breaker=breaker)
        return Backend(cast("Clients", self), settings, jitter=lambda: jitter)


async def read(script: Script, backend: Backend | None = None, seconds: float = 60.0) -> Answer:
    """Read with a deadline in so many seconds."""
    deadline = asyncio.get_running_loop().time() + seconds
    return await (backend or script.backend()).read(EVENTS, script.play, deadline, CALLER)
