"""Prepares foreign clients: fetches packages and generates code from the contract."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2

from dynamodb_processor_server.demo.tool_cache import ToolCache
from tests.interop.drivers import (
    CLIENTS,
    K6,
    PROTO,
    BufCurl,
    Client,
    Grpcurl,
    Program,
    python_client,
)
from tests.interop.envoy import Envoy
from tests.support.backends import find_tool


@dataclass
class Workshop:
    """A folder in which clients are prepared; `report` gets a line when packages are fetched."""

    folder: Path
    report: Callable[[str], None]

    @property
    def _cache(self) -> ToolCache:
        return ToolCache(report=self.report)

    def start(self, name: str, target: str) -> Client:
        """Return a client, by name, of the server at an address."""
        return _MAKERS[name](self, target)

    def _grpc_js(self, target: str) -> Client:
        return Program([*self._node_script("grpc_js.mjs"), target, str(PROTO)], plain=True)

    def _connect_es(self, target: str) -> Client:
        command = self._node_script("connect_es.mjs")
        plugin = _plugin("es", self.folder / "node_modules" / ".bin" / "protoc-gen-es")
        code = self._new("connect_es")  # Beside the packages that it imports.
        _generate(plugin, f"--es_out={code}", "--es_opt=target=js,import_extension=js")
        return Program([*command, target, str(code)])

    def _grpclib(self, target: str) -> Client:
        return python_client("grpclib", target)

    def _betterproto2(self, target: str) -> Client:
        plugin = _plugin("bp", find_tool("protoc-gen-python_betterproto2"))
        code = self._new("betterproto2_contract")
        _generate(plugin, f"--bp_out={code}", "--bp_opt=client_generation=async")
        client = python_client("betterproto2", target, str(self.folder))
        client.rounds_times = True  # Times are datetimes.
        return client

    def _connectrpc(self, target: str) -> Client:
        messages = _plugin("py", find_tool("protoc-gen-py"))
        stubs = _plugin("rpc", find_tool("protoc-gen-connectrpc"))
        code = self._new("connectrpc_contract")
        _generate(messages, stubs, f"--py_out={code}", f"--rpc_out={code}")
        return python_client("connectrpc", target, str(self.folder))

    def _ruby(self, target: str) -> Client:
        files = FileDescriptorSet.FromString(self._descriptors().read_bytes()).file
        encoded = [base64.b64encode(file.SerializeToString()).decode() for file in files]
        contract = self.folder / "contract.json"
        contract.write_text(json.dumps(encoded), encoding="utf-8")
        return Program(["ruby", str(CLIENTS / "ruby_client.rb"), target, str(contract)])

    def _envoy(self, target: str) -> Client:
        return Envoy(target, self.folder)

    def _node_script(self, name: str) -> list[str]:
        """Return the command that runs a script beside the packages for Node.js."""
        packages = self.folder / "node_modules"
        if not packages.exists():
            installed = self._cache.npm_project("interop", CLIENTS)
            packages.symlink_to(installed / "node_modules")
        shutil.copy(CLIENTS / name, self.folder)
        return [self._cache.node(), str(self.folder / name)]

    def _new(self, name: str) -> Path:
        code = self.folder / name
        code.mkdir()
        return code

    def _descriptors(self) -> Path:
        """Write the contract, its imports and the details of errors as a set of descriptors."""
        file = self.folder / "contract.pb"
        details = Path(error_details_pb2.__file__).with_name("error_details.proto")
        includes = f"-I{details.parents[2]}"
        _generate(f"--descriptor_set_out={file}", "--include_imports", includes, str(details))
        return file


_MAKERS: Final[Mapping[str, Callable[[Workshop, str], Client]]] = {
    "grpc-js": Workshop._grpc_js,
    "connect-es": Workshop._connect_es,
    "grpclib": Workshop._grpclib,
    "betterproto2": Workshop._betterproto2,
    "connectrpc": Workshop._connectrpc,
    "buf-curl": lambda _, target: BufCurl(target),
    "grpcurl": lambda _, target: Grpcurl(target),
    "k6": lambda _, target: K6(target),
    "envoy": Workshop._envoy,
    "ruby": Workshop._ruby,
}


def _generate(*arguments: str) -> None:
    files = sorted(str(file) for file in PROTO.rglob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", *arguments, *files]
    subprocess.run(command, check=True, capture_output=True, text=True)


def _plugin(name: str, program: Path) -> str:
    return f"--plugin=protoc-gen-{name}={program}"
