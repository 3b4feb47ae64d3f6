"""The gateway of `deploy/envoy`, as a client of JSON over HTTP."""

from __future__ import annotations

import asyncio
import urllib.parse
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from google.protobuf import json_format
from google.rpc import error_details_pb2  # noqa: F401 - JSON names its types
from google.rpc.status_pb2 import Status

from gateway.config import as_yaml, bootstrap
from gateway.options import Address, Options
from gateway.rules import Rule, load_rules
from tests.interop.drivers import Call, Client, Outcome, unpacked
from tests.interop.forms import as_json
from tests.support.backends import find_tool
from tests.support.processes import free_port
from tests.support.running import eventually

_RULES: Final = {rule.method.full_name: rule for rule in load_rules()}


@dataclass
class Envoy(Client):
    """Envoy before the server at `target`, with its files in `folder`."""

    target: str
    folder: Path
    _port: int = field(default=0, init=False)
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)

    async def call(self, call: Call) -> Outcome:
        """Make a call; Envoy is started with the first."""
        if self._process is None:
            await self._start()
        rule, content = _RULES[call.method.full_name], as_json(call.request)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self._port}") as session:
            path = _path(rule, content)
            if rule.has_body:
                answering = session.post(path, json=content, headers=call.metadata)
            else:
                query = {k: v for k, v in content.items() if k not in rule.bindings}
                answering = session.get(path, params=query, headers=call.metadata)
            async with answering as response:
                text = (await response.read()).decode()
                if response.status != 200:
                    status = json_format.Parse(text, Status())
                    return Outcome([], status.code, status.message, unpacked(status))
        messages = text.splitlines() if call.method.server_streaming else [text]
        return Outcome([json_format.Parse(each, call.answer()) for each in messages], 0)

    async def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            await self._process.wait()

    async def _start(self) -> None:
        self._port = free_port()
        config = self.folder / "envoy.yaml"
        config.write_text(as_yaml(self._config()), encoding="utf-8")
        self._process = await asyncio.create_subprocess_exec(
            *(str(find_tool("envoy")), "--config-path", str(config), "--log-level", "off"),
            *("--concurrency", "1", "--disable-hot-restart"),
        )
        await eventually(self._listens)

    async def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, "Envoy has ended"
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.close()
            return True
        return False

    def _config(self) -> dict[str, Any]:
        """Return the gateway's configuration without checks of health, which would be recorded."""
        listen, upstream = Address("127.0.0.1", self._port), Address.parse("target", self.target)
        config = bootstrap(list(_RULES.values()), Options(listen=listen, upstreams=[upstream]))
        del config["static_resources"]["clusters"][0]["health_checks"]
        return config


def _path(rule: Rule, content: Any) -> str:
    """Return the path of a request, whose fields have the names of the contract."""
    parts = rule.path_parts
    for at in range(1, len(parts), 2):
        value = content
        for name in parts[at].split("."):
            value = value[name]
        parts[at] = urllib.parse.quote(value, safe="")
    return "".join(parts)
