"""The DynamoDB backends that the demo can use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from dynamodb_processor_server.demo.dynamodb_local import dynamodb_local
from dynamodb_processor_server.demo.embedded import embedded_dynamodb
from dynamodb_processor_server.demo.tool_cache import ToolCache

BackendName = Literal["embedded", "dynamodb-local", "aws"]

_REGION: Final = "us-east-1"
# The imitations take any credentials, and should not be shown real ones. AWS's tools look for them
# in the environment, and there is no way to give the server any other than AWS's tools have.
_CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "demo",
    "AWS_SECRET_ACCESS_KEY": "demo",
    "AWS_EC2_METADATA_DISABLED": "true",
}
# With these AWS's tools would use another place, or not find the developer's profile.
_MISLEADING: Final = ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE")
_HOST: Final = "127.0.0.1"
_ENVIRONMENT = os.environ  # noqa: TID251 - only AWS's libraries read it


@dataclass(frozen=True, slots=True)
class Backend:
    """A DynamoDB; `endpoint_url` and `region` are `None` for the defaults of AWS's tools."""

    name: BackendName
    endpoint_url: str | None = None
    region: str | None = None

    @property
    def is_real(self) -> bool:
        """Whether its tables cost money and remain after the demo."""
        return self.name == "aws"


@contextlib.contextmanager
def open_backend(name: BackendName, report: Callable[[str], None]) -> Iterator[Backend]:
    """Run a DynamoDB during the `with`, or return that of AWS.

    A local DynamoDB changes the environment until its end. The start blocks.

    Args:
        name: The name of the backend.
        report: Function that gets a line for the user if a step takes long.

    Raises:
        DemoFailed: A part of the demo is not installed.
        ToolUnavailable: DynamoDB Local could not be fetched or does not start.
    """
    if name == "aws":
        yield Backend(name)
        return
    run = embedded_dynamodb() if name == "embedded" else dynamodb_local(ToolCache(report=report))
    with _changed_environment(), run as endpoint_url:
        yield Backend(name, endpoint_url, _REGION)


@contextlib.contextmanager
def _changed_environment() -> Iterator[None]:
    changes = _changes(_ENVIRONMENT)
    before = {name: _ENVIRONMENT.get(name) for name in changes}
    _apply(changes)
    try:
        yield
    finally:
        _apply(before)


def _changes(current: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables to set for a DynamoDB on this machine; `None` unsets one."""
    direct = current.get("no_proxy") or current.get("NO_PROXY")
    direct = f"{direct},{_HOST}" if direct else _HOST
    return {
        **dict.fromkeys(_MISLEADING),
        **_CREDENTIALS,
        # Some read the one, some the other.
        "no_proxy": direct,
        "NO_PROXY": direct,
    }


def _apply(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            _ENVIRONMENT.pop(name, None)
        else:
            _ENVIRONMENT[name] = value
