"""DynamoDB inside this process: the server of moto, which suffices to show the service.

It accepts key conditions that DynamoDB refuses and reports the same capacity for every read, so it
says nothing about DynamoDB's costs or speed.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from dynamodb_processor_server.demo.failure import DemoFailed

_LOG: Final = logging.getLogger(__name__)
_Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@contextlib.contextmanager
def embedded_dynamodb() -> Iterator[str]:
    """Run moto's server on a free loopback port and yield its endpoint URL.

    The tables belong to the process: a second run finds them again.

    Raises:
        DemoFailed: moto is not installed.
    """
    try:
        from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - an extra of its own
            DomainDispatcherApplication,
            MotoRequestHandler,
            create_backend_app,
        )
        from werkzeug.serving import make_server  # noqa: PLC0415 - comes with it
    except ImportError:
        raise DemoFailed(
            "the embedded DynamoDB is not installed; get it with: "
            "pip install 'dynamodb-processor[demo]'"
        ) from None
    # Otherwise it writes a line for each request.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    application = without_crashes(DomainDispatcherApplication(create_backend_app))
    server = make_server(
        "127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    with _comparisons_of_dynamodb():
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def without_crashes(application: _Application) -> _Application:
    """Return a DynamoDB that refuses requests on which `application` fails, as invalid ones.

    The service would take a status of 500 for an outage: it would retry, and count a failure of the
    table. Here the fault is in the request, or in the emulator.
    """
    from werkzeug.test import run_wsgi_app  # noqa: PLC0415 - an extra of its own

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        reason = "it gave no reason"
        try:
            content, status, headers = run_wsgi_app(application, environ, buffered=True)
        except Exception as error:  # noqa: BLE001 - every failure
            content, status, headers = (), "500 Internal Server Error", None
            reason = f"{type(error).__name__}: {error}"
        if not status.startswith("500"):
            start_response(status, list(headers or ()))
            return content
        _LOG.warning("The embedded DynamoDB cannot answer this request (%s). %s", reason, _BETTER)
        body = json.dumps(
            {
                "__type": "com.amazon.coral.validate#ValidationException",
                "message": f"the embedded DynamoDB cannot answer this request; {_BETTER}",
            }
        ).encode()
        start_response(
            "400 Bad Request",
            [("Content-Type", "application/x-amz-json-1.0"), ("Content-Length", str(len(body)))],
        )
        return [body]

    return answer


_BETTER: Final = "AWS's own imitation can more: make demo BACKEND=dynamodb-local"


@contextlib.contextmanager
def _comparisons_of_dynamodb() -> Iterator[None]:
    """Make comparisons of unlike types, and of sizes that do not exist, false as in DynamoDB.

    moto raises Python's errors for them. `<>` is true for unlike types, also as in DynamoDB.
    """
    from moto.dynamodb import comparisons  # noqa: PLC0415 - an extra of its own

    changed: dict[type, Any] = {}
    for name in _COMPARISONS:
        operator = getattr(comparisons, name)
        changed[operator] = operator.expr
        operator.expr = _tolerant(operator.expr, otherwise=name == "OpNotEqual")
    try:
        yield
    finally:
        for operator, expr in changed.items():
            operator.expr = expr  # type: ignore[attr-defined]


_COMPARISONS: Final = (
    "OpEqual",
    "OpNotEqual",
    "OpLessThan",
    "OpLessThanOrEqual",
    "OpGreaterThan",
    "OpGreaterThanOrEqual",
    "FuncBetween",
)


def _tolerant(expr: Callable[[Any, Any], bool], *, otherwise: bool) -> Callable[[Any, Any], bool]:
    @functools.wraps(expr)
    def compare(operation: Any, item: Any) -> bool:
        try:
            return expr(operation, item)
        except (TypeError, ValueError):
            return otherwise

    return compare
