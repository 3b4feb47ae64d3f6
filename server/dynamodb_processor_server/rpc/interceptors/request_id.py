"""Gives every call a request id, the caller's own if it sent a valid one."""

from __future__ import annotations

import random
import re
from typing import Final

from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook

HEADER: Final = "x-request-id"
_VALID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class RequestIds(CallHook):
    """Sets the request id; the outermost hook, so that all log lines and errors have the id."""

    def applies_to(self, method: str) -> bool:
        """Return True for all methods."""
        return True

    def on_start(self, call: Call) -> None:
        """Adopt or create the id, and send it back."""
        given = call.metadata_value(HEADER)
        if given is None or not _VALID.fullmatch(given):
            given = random.getrandbits(128).to_bytes(16).hex()  # an identifier, not a secret
        call.request_id = given
        call.trailing += ((HEADER, given),)
