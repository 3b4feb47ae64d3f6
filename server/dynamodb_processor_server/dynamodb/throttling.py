"""Reads the reasons that DynamoDB gives for throttling: the exceeded limits and their resource.

Sources: `ThrottlingReason` in DynamoDB's API reference, and the retry behaviour of AWS's SDKs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dynamodb_processor_server.catalog.schema import BASE_TABLE

_KEY_RANGE: Final = "KeyRangeThroughputExceeded"
_LIMITS: Final = (
    "ProvisionedThroughputExceeded",
    "AccountLimitExceeded",
    "MaxOnDemandThroughputExceeded",
    _KEY_RANGE,
)
#: The reasons for which reads are throttled.
READ_REASONS: Final = frozenset(
    f"{kind}Read{limit}" for kind in ("Table", "Index") for limit in _LIMITS
)
#: Stands for a reason that is not among them.
OTHER_REASON: Final = "other"
_NO_REASON: Final = "none"

_RESOURCE: Final = re.compile(r"arn:[^:]*:dynamodb:[^:]*:[^:]*:table/[^/]+(?:/index/([^/]+))?")
_RETRY_AFTER: Final = "x-amz-retry-after"
_MILLISECONDS: Final = re.compile(r"[0-9]{1,7}")  # a longer wait than hours is none of DynamoDB's


@dataclass(frozen=True, slots=True)
class Throttling:
    """DynamoDB's reasons for throttling one request.

    Attributes:
        reasons: The names of the reasons, each one of `READ_REASONS` or `OTHER_REASON`; empty if
            DynamoDB gave none.
        resource: The name of the global index that all reasons name, `BASE_TABLE` if they name the
            table; None if they name neither or both.
        is_hot_partition: Whether each reason concerns a single partition.
    """

    reasons: tuple[str, ...] = ()
    resource: str | None = None
    is_hot_partition: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The reasons for metrics and logs: "none" where DynamoDB gave none."""
        return self.reasons or (_NO_REASON,)


def throttling_of(answer: Mapping[str, Any]) -> Throttling:
    """Return the reasons of an error response that botocore has parsed."""
    found = answer.get("ThrottlingReasons") or answer.get("throttlingReasons")
    given = [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
    reasons = [str(one.get("reason", "")) for one in given]
    resources = {_resource(str(one.get("resource", ""))) for one in given}
    known = (reason if reason in READ_REASONS else OTHER_REASON for reason in reasons)
    return Throttling(
        reasons=tuple(dict.fromkeys(known)),
        resource=resources.pop() if len(resources) == 1 else None,
        is_hot_partition=bool(reasons) and all(one.endswith(_KEY_RANGE) for one in reasons),
    )


def retry_after(answer: Mapping[str, Any]) -> float | None:
    """Return the seconds after which an error response allows a retry; None if it does not say."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    given = str(headers.get(_RETRY_AFTER, ""))
    return int(given) / 1000 if _MILLISECONDS.fullmatch(given) else None


def _resource(arn: str) -> str | None:
    found = _RESOURCE.fullmatch(arn)
    return None if found is None else found[1] or BASE_TABLE
