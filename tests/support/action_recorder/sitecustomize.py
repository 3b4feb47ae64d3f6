"""Records the IAM actions that the product's requests to AWS need, in every process of the tests.

Python imports this module when a process starts, because `.ci/test.py` puts its folder on
PYTHONPATH. It changes nothing of the product: it listens to aiohttp, by which the product sends all
of its requests. It listens to sessions, and to connections, for requests that are written without a
session. The action is in the signed request itself. The modules on the stack show the part of the
product that sent it:

- the commands of operators (`catalog init`, `config`) need the operators' role;
- the demo creates its tables with the developer's own permissions, which no role has;
- other modules need the server's role;
- a request without a module of the product is a test's own.

Each process appends each new action to a file of its own, so nothing is lost when it is killed.
"""

from __future__ import annotations

import gzip
import importlib.abc
import importlib.machinery
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import FrameType, ModuleType
from typing import Any, Final

#: The variable that names the folder of the files.
FOLDER: Final = "RECORDED_ACTIONS"
_PRODUCT: Final = "dynamodb_processor_server."
# The service in the scope of a signature, as IAM names it where it has another name.
_SERVICES: Final = {"monitoring": "cloudwatch"}
_SCOPE: Final = re.compile(r"Credential=[^/]*/\d+/[^/]*/([a-z0-9-]+)/aws4_request")


def action_of(headers: Mapping[str, str], body: object) -> str | None:
    """Return the IAM action that a request needs; None if it is not signed, so needs none."""
    given = {name.lower(): value for name, value in headers.items()}
    scope = _SCOPE.search(given.get("authorization", ""))
    if scope is None:
        return None
    service = _SERVICES.get(scope[1], scope[1])
    if "x-amz-target" in given:  # services that speak JSON
        return f"{service}:{given['x-amz-target'].rpartition('.')[2]}"
    if given.get("content-encoding") == "gzip" and isinstance(body, bytes):
        body = gzip.decompress(body)  # botocore compresses large requests of some services
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
    named = re.search(r"(?:^|&)Action=(\w+)", text)  # such as STS
    return f"{service}:{named[1] if named else 'unknown'}"


def caller_of(modules: Iterable[str]) -> str | None:
    """Return `server` or `operator` for the modules on the stack of a request; None for others."""
    own = {name.removeprefix(_PRODUCT) for name in modules if name.startswith(_PRODUCT)}
    if not own or any(name.partition(".")[0] == "demo" for name in own):
        return None
    commands = {name for name in own if name.partition(".")[0] == "cli"} - {"cli.serve"}
    return "operator" if commands or "dynamodb.inventory" in own else "server"


def _modules() -> Iterator[str]:
    """Yield the module of each function that is running, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame.f_globals.get("__name__", "")
        frame = frame.f_back


def _append(path: str, line: str) -> None:
    with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 - pathlib loads slowly
        file.write(line)


class _Recorder:
    """Records each action of each caller once, in a file of this process."""

    def __init__(self, folder: str) -> None:
        self._file = f"{folder}/{os.getpid()}.txt"
        self._seen: set[tuple[str, str]] = set()

    def note(self, headers: Mapping[str, str], body: object) -> None:
        """Record the action of a request that is being sent."""
        action = action_of(headers, body)
        caller = None if action is None else caller_of(_modules())
        if action is None or caller is None or (caller, action) in self._seen:
            return
        self._seen.add((caller, action))
        _append(self._file, f"{caller} {action}\n")

    def listen_to_sessions(self, session_class: Any) -> None:
        """Note the requests of every session."""
        send = session_class._request

        async def request(session: Any, method: str, url: Any, **options: Any) -> Any:
            self.note(options.get("headers") or {}, options.get("data"))
            return await send(session, method, url, **options)

        session_class._request = request

    def listen_to_connections(self, connection_class: Any) -> None:
        """Note the requests that are written to the transport of a connection."""
        found = connection_class.transport.fget

        def transport(connection: Any) -> Any:
            plain = found(connection)
            return None if plain is None else _Transport(plain, self)

        connection_class.transport = property(transport)


class _Transport:
    """A transport that shows its recorder each request."""

    def __init__(self, plain: Any, recorder: _Recorder) -> None:
        self._plain = plain
        self._recorder = recorder

    def write(self, data: bytes) -> None:
        """Write data, which may be a request."""
        head, _, body = bytes(data).partition(b"\r\n\r\n")
        lines = (line.partition(": ") for line in head.decode("latin-1").split("\r\n")[1:])
        self._recorder.note({name: value for name, _, value in lines}, body)
        self._plain.write(data)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the transport."""
        return getattr(self._plain, name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads aiohttp's client as usual, then listens to it; without it nothing is loaded."""

    name: Final = "aiohttp.client"

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._found: Any = None

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return a spec with this object as the loader, for the one module."""
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None:
            self._found, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Return the module that the real loader creates."""
        created: ModuleType | None = self._found.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, then listen to its sessions."""
        module.__loader__ = self._found
        if module.__spec__ is not None:
            module.__spec__.loader = self._found
        self._found.exec_module(module)
        recorder = _Recorder(self._folder)
        recorder.listen_to_sessions(module.ClientSession)
        connector: Any = sys.modules["aiohttp.connector"]
        recorder.listen_to_connections(connector.Connection)


if FOLDER in os.environ:
    sys.meta_path.insert(0, _Finder(os.environ[FOLDER]))
