"""The examples of the guide run as they are printed."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Final

from gateway.rules import load_rules
from tests.support.backends import find_tool
from tests.support.documentation import ROOT, code_blocks
from tests.support.gateway import Gateway
from tests.support.processes import clean_environment

_PAGE: Final = "docs/guide/http.md"
_ADDRESS: Final = "GATEWAY=http://127.0.0.1:8080"


def _run(gateway: Gateway, script: str) -> list[Any]:
    """Run a script of the page; return the JSON values that it prints."""
    setting = f"GATEWAY={gateway.url}\n"
    done = subprocess.run(
        [str(find_tool("bash")), "-euo", "pipefail", "-c", setting + script.replace(_ADDRESS, "")],
        cwd=ROOT,
        env=clean_environment({"DDBQ_API_KEY": gateway.headers["x-api-key"]}),
        check=True,
        capture_output=True,
        text=True,
    )
    decoder, text, found = json.JSONDecoder(), done.stdout, []
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def test_the_examples_with_curl(gateway: Gateway) -> None:
    """Each example prints the answer that the page describes."""
    first, counts, stream, error = code_blocks(_PAGE, "bash")
    assert _ADDRESS in first
    tables, page = _run(gateway, first)
    assert "flights" in {table["name"] for table in tables["tables"]}
    assert [set(item["attributes"]) for item in page["items"]] == [{"flight", "departure"}] * 3
    counted, got = _run(gateway, counts)
    assert counted["total"] == {"value": "7", "relation": "TOTAL_RELATION_EXACT"}
    assert got["results"][0]["item"]["attributes"]["flight"] == {"n": "1545"}
    messages = _run(gateway, stream)
    assert [message["last"] for message in messages] == [False] * 3 + [True]
    (refused,) = _run(gateway, error)
    (printed,) = code_blocks(_PAGE, "json")
    documented = json.loads(printed)
    assert refused["message"].startswith(documented["message"].rstrip("…"))
    assert [each["@type"] for each in refused["details"]] == [
        each["@type"] for each in documented["details"]
    ]


def test_the_routes_of_the_guide() -> None:
    """The table of routes has each rule, and no other."""
    page = (ROOT / _PAGE).read_text(encoding="utf-8")
    for rule in load_rules():
        path = rule.path.replace("{query.table}", "TABLE").replace("{table}", "TABLE")
        assert f"| `{rule.verb.upper()} {path}` | `{rule.method.name}`" in page
