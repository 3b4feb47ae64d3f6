"""The entry point of `ddbq`, which handles Ctrl-C during the slow imports."""

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
    """Run the command and return its exit status; `ddbq --help` lists the statuses.

    Raises:
        SystemExit: The arguments have an error, or ask for help or the version.
    """
    # gRPC logs broken connections, which does not help the user of a command.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    logging.getLogger("grpc").addHandler(logging.NullHandler())
    with _quiet_interruption():
        from dynamodb_processor_client.cli import run
    return run(argv)


@contextmanager
def _quiet_interruption() -> Iterator[None]:
    """End the process at once on Ctrl-C: a half-imported module cannot clean up after itself."""
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
