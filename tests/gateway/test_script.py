"""A defect of the script that checks requests is an error, and never lets a request pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import listeners
from gateway.rules import Rule
from gateway.schema import filter_source
from tests.gateway.gateways import gateway_before, post
from tests.support.fake_service import FakeService
from tests.support.ready_fake import ready


async def test_a_defect_of_the_check_refuses_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller gets a fixed text, the log has the reason, and the server sees nothing."""

    def broken_source(rules: list[Rule]) -> str:
        entry = "local function refusal_of(rule, path, text)\n"
        source = filter_source(rules)
        assert entry in source
        return source.replace(entry, f"{entry}  error('a defect')\n")

    monkeypatch.setattr(listeners, "filter_source", broken_source)
    service = FakeService(items=[])
    async with ready(service), gateway_before(tmp_path, service) as gateway:
        answer = await post(gateway, "/v1/tables/numbers:query")
        assert answer.refusal == (500, 13, "INTERNAL")
        assert answer.json["message"] == "the gateway could not check the request"
        assert not service.requests
        (line,) = gateway.script_errors
        assert "a defect" in line
        gateway.log.write_text("", encoding="utf-8")  # Other tests fail with such a line.
