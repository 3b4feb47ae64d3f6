"""The set-up of the server over events: its catalog, its keys and its environment."""

from __future__ import annotations

import json
from typing import Final

from tests.support.access import ApiKey, keys_file, token_keys

READER: Final = ApiKey("reader")
OTHER: Final = ApiKey("other")
NARROW: Final = ApiKey("narrow", tables=("events", "ghost"))
EXPIRED: Final = ApiKey("expired", expires="2020-01-01T00:00:00Z")
KEYS: Final = keys_file(READER, OTHER, NARROW, EXPIRED)
CATALOG: Final = {
    "tables": {
        "events": {"table": "e2e-events"},
        "copies": {"table": "e2e-copies"},
        "listed": {"table": "e2e-events", "attributes": ["user_id", "seq", "action"]},
    },
    "discover": ["e2e-*"],
}
#: For `rate_classes` of tests that do not test limits.
NO_LIMITS: Final = json.dumps(
    {"default": {"calls_per_second": 1_000_000, "planning_seconds_per_second": None}}
)
ENVIRONMENT: Final = {
    "DYNAMODB_PROCESSOR_TOKEN_KEYS": token_keys("first"),
    "DYNAMODB_PROCESSOR_DRAIN_DELAY": "0",
    # Tests of rate limits have servers of their own.
    "DYNAMODB_PROCESSOR_RATE_CLASSES": NO_LIMITS,
}
