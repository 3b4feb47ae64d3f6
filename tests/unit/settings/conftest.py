"""An environment without settings for every test of settings."""

from __future__ import annotations

import os

import pytest

from tests.unit.settings.setting_cases import PREFIX


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without settings."""
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    return monkeypatch
