"""Reads data of DynamoDB: each request is one signed POST.

aiobotocore spends most of a request on its service model and event system. Reads of items need
neither. So they are sent here, over the connections of an aioboto3 client, which keeps all that is
not on the path of an item: endpoints, proxies, certificates, credentials, and requests about
tables. Errors are parsed by botocore, so they are its own exceptions.
"""

from __future__ import annotations

import base64
import gzip
import json
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import starmap
from typing import Any, Final, NamedTuple

import orjson
import structlog
from aiohttp import StreamReader

from dynamodb_processor_server.dynamodb.connection_errors import translated_errors
from dynamodb_processor_server.dynamodb.credentials import Credentials
from dynamodb_processor_server.dynamodb.endpoints import Endpoints
from dynamodb_processor_server.dynamodb.http_post import ResponseHead, header_line, post
from dynamodb_processor_server.dynamodb.response_parser import (
    CorruptAnswer,
    StrictResponseParser,
    checksum_is_wrong,
)
from dynamodb_processor_server.dynamodb.sigv4 import CONTENT_TYPE
from dynamodb_processor_server.runtime.byte_budget import ByteBudget

_log = structlog.get_logger(__name__)

# AWS accepts signatures whose time differs from its own by five minutes at most.
_LEAST_SKEW: Final = 240.0
_SKEW_CODES: Final = frozenset(
    {
        "InvalidSignatureException",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
# Bytes of a response that is received at once, and those reserved for one of unknown size. DynamoDB
# answers with 1 MB of items, or 16 MB for a batch, as it stores them. A number of 2 bytes can take
# 126 characters of JSON.
_SMALL_RESPONSE: Final = 2 * 1024 * 1024
_UNKNOWN_SIZE: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that reads data: its name, the parser of its responses, and a required member.

    `parse` gets the bytes of a response. Whatever it raises says that the response is damaged.
    """

    name: str
    parse: Callable[[bytes], dict[str, Any]]
    required: str | None = None


class _Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class DataPlaneClient:
    """A client of DynamoDB that sends `operations` itself, and others by an aioboto3 client.

    Each operation is a method, by its name in boto3, with boto3's arguments and results. It raises
    botocore's exceptions, CredentialsFailed, and CorruptAnswer for a damaged response. `received`
    bounds the bytes of large responses that are received at once. `now` gives seconds since the
    epoch.
    """

    def __init__(
        self,
        client: Any,
        credentials: Credentials,
        operations: Mapping[str, Operation],
        received: ByteBudget,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._credentials = credentials
        self._endpoints = Endpoints(client)
        self._received = received
        self._now = now
        self._skew = 0.0
        self._target_prefix = client.meta.service_model.metadata["targetPrefix"]
        agent = client._user_agent_creator.to_string()  # noqa: SLF001 - no public way
        headers = {
            "Accept": "*/*",
            "Content-Type": CONTENT_TYPE,
            # As aiobotocore: a compressed response costs more time than it saves in one region.
            "Accept-Encoding": "identity",
            "User-Agent": agent,
        }
        self._headers = "".join(starmap(header_line, headers.items()))
        for method, operation in operations.items():
            setattr(self, method, partial(self._call, operation))

    def __getattr__(self, name: str) -> Any:
        """Return what the aioboto3 client has by a name, such as `meta` or `describe_table`."""
        return getattr(self._client, name)

    async def _call(self, operation: Operation, /, **request: Any) -> dict[str, Any]:
        body, skew = _encode(request), self._skew
        response = await self._send(operation, request, body, skew)
        if response.status >= 300:
            refusal = await self._refusal(operation, response)
            if not self._corrects_skew(refusal, response.headers, skew):
                raise refusal
            response = await self._send(operation, request, body, self._skew)
            if response.status >= 300:
                raise await self._refusal(operation, response)
        parsed = _parse(operation, response.body)
        parsed["ResponseMetadata"] = {
            "RequestId": response.headers.get("x-amzn-requestid", ""),
            "HTTPStatusCode": response.status,
            "HTTPHeaders": response.headers,
            "RetryAttempts": 0,
        }
        return parsed

    async def _send(
        self, operation: Operation, request: Mapping[str, Any], body: bytes, skew: float
    ) -> _Response:
        credentials = await self._credentials.get_frozen_credentials()
        endpoint = await self._endpoints.resolve(operation.name, request, credentials.account_id)
        target = f"{self._target_prefix}.{operation.name}"
        http = self._client._endpoint.http_session  # noqa: SLF001 - no public way to share it
        destination = endpoint.destination
        with translated_errors(destination.url, destination.proxy):
            signed = endpoint.signer.headers(credentials, target, body, self._now() + skew)
            headers = self._headers + "".join(starmap(header_line, signed.items()))
            session = await http._get_session(destination.proxy)  # noqa: SLF001 - as above
            # Redirects are not followed. DynamoDB has none, and a signature is for one address.
            return await post(session, destination, headers, body, self._receive)

    async def _receive(self, head: ResponseHead, reader: StreamReader) -> _Response:
        """Return a response; a large one waits until there is room, as its sender does meanwhile.

        It is parsed as soon as it is complete, so that its bytes are soon free again.
        """
        length = head.headers.get("content-length")
        size = _UNKNOWN_SIZE if length is None else int(length)
        if size <= _SMALL_RESPONSE:
            return _checked(head, await reader.read())
        async with self._received.reserve(size):
            return _checked(head, await reader.read())

    async def _refusal(self, operation: Operation, response: _Response) -> Exception:
        """Return botocore's exception for an error response."""
        client = self._client
        model = client.meta.service_model.operation_model(operation.name)
        parser = StrictResponseParser()
        answer = {
            "headers": response.headers,
            "status_code": response.status,
            "body": response.body,
            "context": {},
        }
        parsed = await parser.parse(answer, model.output_shape)
        await client._endpoint._add_modeled_error_fields(answer, parsed, model, parser)  # noqa: SLF001 - no public way
        parsed["ResponseMetadata"]["RetryAttempts"] = 0
        kind = client.exceptions.from_code(parsed.get("Error", {}).get("Code"))
        error: Exception = kind(parsed, operation.name)
        return error

    def _corrects_skew(self, refusal: Any, headers: Mapping[str, str], skew: float) -> bool:
        """Return whether a request that was signed with `skew` was refused for its time.

        Then DynamoDB's time is adopted, unless a request at the same time has done so already.
        """
        if refusal.response.get("Error", {}).get("Code") not in _SKEW_CODES:
            return False
        try:
            theirs = parsedate_to_datetime(headers.get("date", "")).timestamp()
        except ValueError:
            return False
        right = theirs - self._now()
        if abs(right - self._skew) >= _LEAST_SKEW:
            self._skew = right
            _log.warning("clock_skew_corrected", seconds=round(right))
        return abs(right - skew) >= _LEAST_SKEW


def _checked(head: ResponseHead, body: bytes) -> _Response:
    """Return a response whose checksum is right; raise CorruptAnswer if it is wrong."""
    status, headers = head
    wrong = checksum_is_wrong(headers, body)
    if headers.get("content-encoding", "").lower() == "gzip":
        body = _decompress(body)
        # DynamoDB's checksum is of the compressed bytes; a proxy compresses after DynamoDB's.
        wrong = wrong and checksum_is_wrong(headers, body)
    if wrong:
        raise CorruptAnswer("the checksum of a response is wrong")
    return _Response(status, headers, body)


def _decompress(body: bytes) -> bytes:
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptAnswer("a response cannot be decompressed") from error


def _parse(operation: Operation, body: bytes) -> dict[str, Any]:
    try:
        parsed = operation.parse(body)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise CorruptAnswer("a response cannot be parsed") from error
    if not isinstance(parsed, dict):
        raise CorruptAnswer("a response is no JSON object")
    if operation.required is not None and operation.required not in parsed:
        raise CorruptAnswer(f"a response lacks {operation.required}")
    return parsed


def _encode(request: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(request, default=_to_base64)
    except orjson.JSONEncodeError:  # such as half of a surrogate pair, which is no UTF-8
        return json.dumps(request, default=_to_base64).encode()


def _to_base64(value: Any) -> str:
    return base64.b64encode(value).decode("ascii")
