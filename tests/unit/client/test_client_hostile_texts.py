"""Tests with servers whose texts are meant for the caller's terminal and shell."""

from __future__ import annotations

import asyncio

import grpc
from google.rpc.error_details_pb2 import BadRequest

from dynamodb_processor.v1.query_service_pb2 import QueryRequest, QueryResponse
from tests.support.fake_server import running
from tests.support.fake_service import Context, Failure, FakeService
from tests.unit.client.commands import COMMAND, Outcome, Run

STEERING = "\x1b]0;owned\x07\x1b[2Jred\u202e\u200b\r\x9b31m"


class _SteeringService(FakeService):
    """A service whose token is a command of the shell, and moves the cursor."""

    async def Query(self, request: QueryRequest, context: Context) -> QueryResponse:  # noqa: N802
        """Answer with an empty page."""
        return QueryResponse(next_page_token="t; echo $(id) \x1b[2J")


async def test_text_of_a_server_cannot_control_the_terminal(run: Run, service: FakeService) -> None:
    """Unprintable characters in messages, reasons and tokens are escaped."""
    violation = BadRequest()
    violation.field_violations.add(field=f"query{STEERING}", description=f"why{STEERING}")
    service.failures.append(
        Failure(
            grpc.StatusCode.INVALID_ARGUMENT,
            "bad \x1b[2J\x07",
            (violation,),
            (("x-request-id", "r"),),
        )
    )
    outcome = await run("query", "numbers")
    assert outcome.status == 1
    _check_clean(outcome)
    assert "\\x1b[2J" in outcome.errors
    assert "query" in outcome.errors


async def test_a_token_is_one_word_for_the_shell(
    environment: dict[str, str],
) -> None:
    """A command line for pasting contains no command of the server's."""
    service = _SteeringService(items=[])
    async with running(service):
        environment["DDBQ_TARGET"] = service.address
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *("query", "numbers"),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
    assert errors.decode() == "more with: --token 't; echo $(id) \\x1b[2J'\n"


def _check_clean(outcome: Outcome) -> None:
    text = outcome.errors.replace("\n", "")
    assert text.isprintable()
