"""`ddbq`, as it is started: everything else is imported under an eye on Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_INTERRUPTED = 130  # 128 + SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status, which `ddbq --help` lists.

    Raises:
        SystemExit: The arguments have a mistake, or asked for help or the version.
    """
    # gRPC's own logs, of connections that break, are no message to a person.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    logging.getLogger("grpc").addHandler(logging.NullHandler())
    with _quiet_interruption():
        from dynamodb_processor_client.cli import run
    return run(argv)


@contextmanager
def _quiet_interruption() -> Iterator[None]:
    """End the process at once when Ctrl-C comes inside; a half imported module has no good end."""
    is_default = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not is_default:
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(_INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    sys.exit(main())
