"""Where the demo's tables can be."""

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
# With these AWS's tools would look elsewhere, or not find what the developer's profile is called.
_MISLEADING: Final = ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE")
_HOST: Final = "127.0.0.1"
_ENVIRONMENT = os.environ  # noqa: TID251 - AWS's libraries read it; nothing of the demo does


@dataclass(frozen=True, slots=True)
class Backend:
    """A DynamoDB. `endpoint_url` and `region` None mean what AWS's tools are set to."""

    name: BackendName
    endpoint_url: str | None = None
    region: str | None = None

    @property
    def is_real(self) -> bool:
        """Whether tables in it cost money and outlive the demo."""
        return self.name == "aws"


@contextlib.contextmanager
def open_backend(name: BackendName, report: Callable[[str], None]) -> Iterator[Backend]:
    """Run a DynamoDB for the time of the `with`, or give the one of AWS.

    For one that runs here, the environment is changed until the end. It blocks while it starts.

    Args:
        name: Which one.
        report: Given a line for a person when something takes long.

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
    """Return the variables to set for a DynamoDB on this machine; None takes one away."""
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
