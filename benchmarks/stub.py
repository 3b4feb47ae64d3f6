"""A stub of DynamoDB that answers every Query at once with the same 100 items, 34 KB of JSON.

It answers a BatchGetItem with an item for each key.

So a benchmark measures the client of DynamoDB and not DynamoDB. Every answer has a last key, which
counts the pages of the traversal; the last of `PAGES` pages has none. The stub knows one table, and
prints its port.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from typing import Any, Final

import uvloop
import workload

PAGES: Final = 30
_PAGE: Final = re.compile(rb"page-(\d+)")  # in the sort key of the start key
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TARGET: Final = re.compile(rb"\r\nx-amz-target: *\w+\.(\w+)", re.IGNORECASE)


def _answer(status: str, content: dict[str, Any]) -> bytes:
    body = json.dumps(content, separators=(",", ":")).encode()
    head = (
        f"HTTP/1.1 {status}\r\n"
        "content-type: application/x-amz-json-1.0\r\n"
        f"content-length: {len(body)}\r\n"
        f"x-amz-crc32: {zlib.crc32(body)}\r\n"
        "x-amzn-requestid: STUB\r\n\r\n"
    )
    return head.encode() + body


def _page(number: int) -> dict[str, Any]:
    items = [workload.as_dynamodb_json(item) for item in workload.items(workload.PAGE_SIZE)]
    page: dict[str, Any] = {
        "Items": items,
        "Count": len(items),
        "ScannedCount": len(items),
        "ConsumedCapacity": {"TableName": workload.TABLE, "CapacityUnits": 4.5},
    }
    if number < PAGES - 1:
        page["LastEvaluatedKey"] = {
            "user_id": {"S": workload.user(0)},
            "occurred_at": {"S": f"2026-01-05T00:00:00.000Z page-{number}"},
        }
    return page


def _items(body: bytes) -> bytes:
    (request,) = json.loads(body)["RequestItems"].values()
    (item,) = workload.items(1)
    other = workload.as_dynamodb_json(item)
    answer = {
        "Responses": {workload.TABLE: [{**other, **key} for key in request["Keys"]]},
        "UnprocessedKeys": {},
        "ConsumedCapacity": [
            {"TableName": workload.TABLE, "CapacityUnits": len(request["Keys"]) / 2}
        ],
    }
    return _answer("200 OK", answer)


class Stub(asyncio.Protocol):
    """One connection. Requests of a connection are answered in their order."""

    pages = tuple(_answer("200 OK", _page(number)) for number in range(PAGES))
    description = _answer("200 OK", {"Table": workload.DESCRIPTION})
    refusal = _answer(
        "400 Bad Request", {"__type": "com.amazon.coral.service#UnknownOperationException"}
    )

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Answer every request that has arrived whole."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end]
            length = _LENGTH.search(head)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self._received) < size:
                return
            body, self._received = self._received[end + 4 : size], self._received[size:]
            target = _TARGET.search(head)
            self._transport.write(self._answer(target[1] if target else b"", body))

    def _answer(self, operation: bytes, body: bytes) -> bytes:
        if operation == b"Query":
            after = _PAGE.search(body)
            return self.pages[(int(after[1]) + 1) % PAGES if after else 0]
        if operation == b"BatchGetItem":
            return _items(body)
        return self.description if operation == b"DescribeTable" else self.refusal


async def serve() -> None:
    """Serve on a free port of the loopback interface, print it, and go on until killed."""
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
