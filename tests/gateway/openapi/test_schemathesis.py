"""Random calls, made from the OpenAPI description, get answers that it describes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gateway.reference import OPENAPI_FILE
from tests.gateway.openapi.calling import closed
from tests.gateway.openapi.conftest import KEYS, Samples
from tests.support.backends import find_tool
from tests.support.lengths import FULL

_ROOT: Final = Path(__file__).parents[3]
_SECONDS: Final = 600
#: Others demand more than the gateway promises: proto3 JSON takes null for absent fields, and two
#: forms of names, which the description does not list.
_CHECKS: Final = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance", "ignored_auth",
    "complete_stream",
)  # fmt: skip


def _description() -> dict[str, Any]:
    """Return the description without room for further fields, and streams as arrays."""
    document = closed(json.loads(OPENAPI_FILE.read_text(encoding="utf-8")))
    operation = document["paths"]["/v1/tables/{table}:stream"]["post"]
    content = operation["responses"]["200"]["content"]["application/x-ndjson"]
    content["schema"] = {"type": "array", "items": content["schema"], "minItems": 1}
    del content["examples"]
    return document


def _command(samples: Samples, file: Path) -> list[str]:
    command = [str(find_tool("schemathesis")), "run", str(file), "--url", samples.gateway.url]
    command += ["--header", f"x-api-key: {KEYS['admin'].text}", "--checks", ",".join(_CHECKS)]
    command += ["--continue-on-failure", "--no-color"]
    if FULL:
        return [*command, "--max-time", str(_SECONDS), "--generation-database", "none"]
    # The same calls each time, however long they take.
    command += ["--phases", "examples,fuzzing", "--max-examples", "10"]
    return [*command, "--generation-deterministic", "--no-shrink"]


async def test_random_calls_get_described_answers(
    samples: Samples, tmp_path: Path, report: Callable[[str, str, str], None]
) -> None:
    """No call gets a 5xx or an answer of another form, and every stream is complete."""
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(_description()), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *_command(samples, file),
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "SCHEMATHESIS_HOOKS": "tests.gateway.openapi.hooks",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    counted = re.search(r"(\d+) generated", output)
    report(
        "random calls through the gateway",
        "no 5xx, no answer that OpenAPI does not describe",
        f"{counted[1] if counted else 0} calls",
    )
    assert process.returncode == 0, output
    assert counted is not None
    assert int(counted[1]) >= 80
