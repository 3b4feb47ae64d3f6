"""DynamoDB inside this process: the server of moto, good enough to see the service at work.

It accepts key conditions that DynamoDB refuses and reports the same capacity for every read, so
nothing about DynamoDB itself is to be learnt from it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from dynamodb_processor_server.demo.failure import DemoFailed


@contextlib.contextmanager
def embedded_dynamodb() -> Iterator[str]:
    """Run moto's server on a free loopback port and give its endpoint URL.

    Its tables are the process's: they are there again when it is run a second time.

    Raises:
        DemoFailed: moto is not installed.
    """
    try:
        from moto.server import ThreadedMotoServer  # noqa: PLC0415 - an extra of its own
    except ImportError:
        raise DemoFailed(
            "the embedded DynamoDB is not installed; get it with: "
            "pip install 'dynamodb-processor[demo]'"
        ) from None
    # Else it writes a line for each request.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()
