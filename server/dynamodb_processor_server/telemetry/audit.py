"""The log of administrative calls, which no level of the log turns off."""

from __future__ import annotations

import logging
from typing import Any, Final

import structlog

#: The field `logger` of its lines, by which a collector can send them to a place of their own.
AUDIT: Final = "audit"


def get_audit_log() -> Any:
    """Return a logger whose lines are written at every `log_level`."""
    return structlog.wrap_logger(
        None, wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET)
    )
