"""The check of the systemd unit finds each fault that systemd lets pass."""

from __future__ import annotations

from typing import Final

import pytest
from systemd_unit import FOLDER, UNIT, unit_findings

_UNIT: Final = (FOLDER / UNIT).read_text("utf-8")
_SETTINGS: Final = (FOLDER / "settings.env").read_text("utf-8")


def test_the_unit_has_no_fault() -> None:
    """The unit and its settings, as they are, pass."""
    assert list(unit_findings(_UNIT, _SETTINGS)) == []


@pytest.mark.parametrize(
    ("unit", "settings", "expected"),
    [
        (("TimeoutStopSec=40", "TimeoutStopSec=28"), ("", ""), "has to be more than 28"),
        (("RestartPreventExitStatus=2", "RestartPreventExitStatus=3"), ("", ""), "exit code 2"),
        (("50052 --wait", "50051 --wait"), ("", ""), "ExecStartPost has to ask 127.0.0.1:50052"),
        (("", ""), ("HEALTH_LISTEN=127.0.0.1:50052", "HEALTH_LISTEN="), "has to ask None"),
        (("User=dynamodb-processor", "User=root"), ("", ""), "a user other than root"),
        (("User=dynamodb-processor\n", ""), ("", ""), "a user other than root"),
        (("", ""), ("CACHE_MAX_BYTES", "CACHE_BYTES"), "CACHE_BYTES names no setting"),
        (("", ""), ("=25%", "=25 bytes"), "settings.env: cache_max_bytes: "),
    ],
)
def test_a_planted_fault_is_found(
    unit: tuple[str, str], settings: tuple[str, str], expected: str
) -> None:
    """Each fault gives a sentence that names it."""
    changed = _UNIT.replace(*unit) if unit[0] else _UNIT
    environment = _SETTINGS.replace(*settings) if settings[0] else _SETTINGS
    assert any(expected in finding for finding in unit_findings(changed, environment))
