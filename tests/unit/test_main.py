"""Tests of the `dynamodb-processor` command itself: usage, version, imports, interruption."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version

import pytest

from dynamodb_processor_server.__main__ import main
from dynamodb_processor_server.cli import serve as serve_command
from dynamodb_processor_server.settings import GRPC_EXPERIMENTS
from tests.support.lengths import PATIENCE


@pytest.mark.parametrize("arguments", [[], ["dance"], ["serve", "--colour=red"], ["demo", "--x"]])
def test_wrong_usage_is_reported(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 2, and the usage is printed."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: dynamodb-processor" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "config", "catalog", "keys", "health", "demo"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command has a `--help`."""
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    output = capsys.readouterr().out
    assert f"usage: dynamodb-processor {command}" in output
    assert not re.search(r"--(token-keys|redis-url)(?!-)", output)  # secrets have no flag


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is that of the distribution."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"dynamodb-processor {version('dynamodb-processor')}\n"


# The costly packages, and modules of the server, that each of these may import.
_FOREIGN = ("aioboto3", "botocore", "cryptography", "lark", "prometheus_client", "pydantic",
            "pydantic_settings", "redis", "structlog", "uvloop", "yaml")  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "own", "foreign"),
    [
        (["--help"], {"errors"}, set()),
        (["--version"], {"errors"}, set()),
        (["health", "--target", "127.0.0.1:9"], {"errors", "cli", "cli.health", "rpc",
         "rpc.health_client"}, set()),
        (["keys", "token-key"], None, {"lark", "pydantic", "structlog", "yaml"}),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_small_command_imports_no_server(
    arguments: list[str], own: set[str] | None, foreign: set[str]
) -> None:
    """A probe every few seconds, or a key for a script, imports no unused package."""
    program = (
        "import sys\n"
        "from dynamodb_processor_server.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print('modules', *sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.rpartition("modules ")[2].split())
    package = "dynamodb_processor_server."
    imported = {name.removeprefix(package) for name in modules if name.startswith(package)}
    assert own is None or imported == own | {"__main__"}
    assert not imported & {"app", "cache", "dynamodb", "settings"}
    assert modules & set(_FOREIGN) <= foreign


# Not installed, interrupted

_IMPORTING = """
import signal, sys
from dynamodb_processor_server.__main__ import main

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pydantic", "grpc", "cryptography", "yaml", "boto3"):
            {action}

sys.meta_path.insert(0, Finder())
sys.argv = ["dynamodb-processor", *sys.argv[1:]]
sys.exit(main())
"""


@pytest.mark.parametrize("command", ["serve", "config", "keys", "catalog", "demo"])
def test_a_client_without_the_server_says_how_to_get_it(command: str) -> None:
    """The command exists without the extra that it needs, and names it in one sentence."""
    action = "raise ModuleNotFoundError(f'No module named {name!r}', name=name)"
    program = _IMPORTING.format(action=action)
    arguments = {"keys": ("create", "--id", "a", "--principal", "b", "--table", "c")}
    done = subprocess.run(
        [sys.executable, "-c", program, command, *arguments.get(command, ())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("dynamodb-processor: the server is not installed here")
    assert "[server]" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_while_it_is_imported_leaves_no_traceback() -> None:
    """An interruption before any command runs has the usual status."""
    action = "raise KeyboardInterrupt"  # As its handler does.
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTING.format(action=action), "config"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "")


_GRPC_SERVER = """
import asyncio, grpc

async def serve():
    server = grpc.aio.server()
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await server.stop(None)

asyncio.run(serve())
"""


@pytest.mark.parametrize(("experiments", "known"), [(GRPC_EXPERIMENTS, True), ("dance", False)])
def test_grpc_knows_its_experiments(experiments: str, known: bool) -> None:
    """A release of gRPC without an experiment would log an error, and be slower."""
    environment = {**os.environ, "GRPC_EXPERIMENTS": experiments}
    done = subprocess.run(
        [sys.executable, "-c", _GRPC_SERVER],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert ("Unknown experiment" not in done.stderr) is known


@pytest.mark.parametrize("given", [None, "", "other"])
def test_an_operator_chooses_the_experiments(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's own choice is a default; an empty value turns it off."""
    seen: list[str] = []

    def served(*_: object) -> int:
        seen.append(os.environ["GRPC_EXPERIMENTS"])
        return 0

    monkeypatch.delenv("GRPC_EXPERIMENTS", raising=False)
    if given is not None:
        monkeypatch.setenv("GRPC_EXPERIMENTS", given)
    monkeypatch.setattr(serve_command, "serve", served)
    assert main(["serve", "--keys", "keys.yaml", "--catalog", "catalog.yaml"]) == 0
    assert seen == [GRPC_EXPERIMENTS if given is None else given]
