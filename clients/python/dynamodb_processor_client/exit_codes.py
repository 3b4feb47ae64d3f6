"""The exit codes of `ddbq`, and the code for an error of the service."""

from __future__ import annotations

from typing import Final

from dynamodb_processor_client.connection_errors import CAUSES
from dynamodb_processor_client.errors import (
    DeadlineExceeded,
    QueryError,
    ResourceExhausted,
    Unavailable,
)

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
TEMPORARY: Final = 75  # EX_TEMPFAIL of sysexits.h
INTERRUPTED: Final = 130  # 128 + SIGINT
BROKEN_PIPE: Final = 141  # 128 + SIGPIPE

EXIT_CODES: Final = """\
exit codes:
  0    done
  1    the service refused or failed, `get` found no item for a key, an export cannot be resumed,
       or the output could not be written
  2    an error in the arguments, the profile or the environment
  75   the service is unavailable, a limit is reached or the time is over: the same command may
       succeed later
  130  interrupted (Ctrl-C)
  141  the reader of the output went away, as `| head` does
"""


def exit_code_of(error: QueryError) -> int:
    """Return the exit code for an error of the service."""
    if not isinstance(error, Unavailable | ResourceExhausted | DeadlineExceeded):
        return FAILED
    # A certificate does not become valid by a repetition.
    is_permanent = error.message.partition(": ")[0] in CAUSES or not error.may_retry
    return FAILED if is_permanent else TEMPORARY
