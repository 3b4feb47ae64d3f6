"""A DynamoDB that denies operations, as one with a narrow policy does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@contextmanager
def denying(
    endpoint_url: str, *operations: str, deleting: str = "", closed: str = ""
) -> Iterator[str]:
    """Run a DynamoDB that denies operations and passes the others on; yield its URL.

    Of the table `closed` every operation is denied. The table `deleting` is described as DynamoDB
    may describe one that is being deleted: without its keys.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            is_closed = bool(closed) and json.loads(body).get("TableName") == closed
            if is_closed or operation in operations:
                denied = {
                    "__type": "com.amazon.coral.service#AccessDeniedException",
                    "Message": f"User is not authorized to perform: dynamodb:{operation}",
                }
                self._answer(400, json.dumps(denied).encode())
                return
            headers = {
                name: self.headers[name]
                for name in ("X-Amz-Target", "Authorization", "Content-Type", "X-Amz-Date")
            }
            upstream = HTTPConnection(endpoint_url.removeprefix("http://"), timeout=30)
            with closing(upstream):
                upstream.request("POST", "/", body, headers)
                self._answer(200, _described(upstream.getresponse().read(), deleting))

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def _described(answer: bytes, deleting: str) -> bytes:
    content = json.loads(answer)
    described = content.get("Table", {})
    if not deleting or described.get("TableName") != deleting:
        return answer
    return json.dumps({"Table": {"TableName": deleting, "TableStatus": "DELETING"}}).encode()
