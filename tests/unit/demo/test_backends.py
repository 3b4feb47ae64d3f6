"""Tests of the demo's backends."""

from __future__ import annotations

import os

import pytest

from dynamodb_processor_server.demo.backends import open_backend


def test_real_credentials_are_not_shown_to_an_imitation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's credentials are removed, and restored at the end."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "real")
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    before = dict(os.environ)
    with open_backend("embedded", print) as backend:
        assert os.environ["AWS_ACCESS_KEY_ID"] == "demo"
        assert "AWS_PROFILE" not in os.environ
        assert backend.endpoint_url is not None
        assert not backend.is_real
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("set_to", "expected"),
    [("", "127.0.0.1"), ("internal.example", "internal.example,127.0.0.1")],
)
def test_no_proxy_stands_before_this_machine(
    monkeypatch: pytest.MonkeyPatch, set_to: str, expected: str
) -> None:
    """A proxy in the environment is not used for this machine."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", set_to)
    with open_backend("embedded", print):
        assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == expected
    assert os.environ["NO_PROXY"] == set_to


def test_aws_is_reached_as_its_tools_are_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is not changed for AWS."""
    monkeypatch.setenv("AWS_PROFILE", "work")
    before = dict(os.environ)
    with open_backend("aws", print) as backend:
        assert dict(os.environ) == before
        assert (backend.endpoint_url, backend.region) == (None, None)
        assert backend.is_real
