"""Envoy's transcoder between JSON over HTTP and gRPC."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from google.protobuf import json_format
from google.rpc import error_details_pb2  # noqa: F401 - JSON names its types
from google.rpc.status_pb2 import Status

from tests.interop.drivers import Call, Client, Outcome, unpacked
from tests.interop.forms import as_json
from tests.support.backends import find_tool
from tests.support.processes import free_port
from tests.support.running import eventually

_SERVICES: Final = [
    f"dynamodb_processor.v1.{name}" for name in ("QueryService", "CatalogService", "CacheService")
]


@dataclass
class Envoy(Client):
    """Envoy before the server at `target`, with its files in `folder`.

    `descriptors` holds the contract and, for errors in JSON, `google.rpc`'s details.
    """

    target: str
    folder: Path
    descriptors: Path
    _port: int = field(default=0, init=False)
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)

    async def call(self, call: Call) -> Outcome:
        """Make a call; Envoy is started with the first."""
        if self._process is None:
            await self._start()
        url = f"http://127.0.0.1:{self._port}/{call.path}"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json=as_json(call.request), headers=call.metadata) as response,
        ):
            content = json.loads(await response.read())
            if response.status != 200:
                status = json_format.ParseDict(content, Status())
                return Outcome([], status.code, status.message, unpacked(status))
        messages = content if call.method.server_streaming else [content]
        return Outcome([json_format.ParseDict(each, call.answer()) for each in messages], 0)

    async def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            await self._process.wait()

    async def _start(self) -> None:
        self._port = free_port()
        config = self.folder / "envoy.json"
        config.write_text(json.dumps(self._config()), encoding="utf-8")
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
        host, _, port = self.target.rpartition(":")
        transcoder = {
            "@type": _type("filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"),
            "proto_descriptor": str(self.descriptors),
            "services": _SERVICES,
            "auto_mapping": True,
            "convert_grpc_status": True,
            "print_options": {"preserve_proto_field_names": True},
        }
        router = {"@type": _type("filters.http.router.v3.Router")}
        route = {"match": {"prefix": "/"}, "route": {"cluster": "service", "timeout": "0s"}}
        host_of_all = {"name": "all", "domains": ["*"], "routes": [route]}
        manager = {
            "@type": _type("filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "http",
            "route_config": {"virtual_hosts": [host_of_all]},
            "http_filters": [
                {"name": "transcoder", "typed_config": transcoder},
                {"name": "router", "typed_config": router},
            ],
        }
        listener = {
            "address": _address("127.0.0.1", self._port),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }
        endpoint = {"endpoint": {"address": _address(host, int(port))}}
        cluster = {
            "name": "service",
            "type": "STATIC",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": _type("upstreams.http.v3.HttpProtocolOptions"),
                    "explicit_http_config": {"http2_protocol_options": {}},
                }
            },
            "load_assignment": {
                "cluster_name": "service",
                "endpoints": [{"lb_endpoints": [endpoint]}],
            },
        }
        return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _type(name: str) -> str:
    return f"type.googleapis.com/envoy.extensions.{name}"


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
