"""SIGHUP: a service reloads its files, a program on a closed terminal drains."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.support.access import keys_file
from tests.support.certificates import issue, presented_serial
from tests.support.event_service import CATALOG, ENVIRONMENT, READER
from tests.support.processes import ServerProcess, clean_environment


def test_a_service_reloads_its_files(
    serve: Callable[..., ServerProcess], events: str, tmp_path: Path
) -> None:
    """It reloads them at once, before their interval has passed, and serves on."""
    server = serve(
        CATALOG,
        keys_file(READER),
        endpoint_url=events,
        env=ENVIRONMENT,
        args=["--reload-interval=86400"],
    )
    (keys,) = tmp_path.rglob("keys.yaml")
    keys.write_text("keys: [", "utf-8")
    server.signal(signal.SIGHUP)
    assert "keys.yaml" in str(server.wait_for_event("config_file_refused")["errors"])
    keys.write_text(yaml.safe_dump(keys_file()), "utf-8")
    server.signal(signal.SIGHUP)
    assert server.wait_for_event("config_file_reloaded")["file"].endswith("keys.yaml")
    assert server.returncode is None
    assert server.stop() == 0


def test_a_service_reloads_its_certificate(
    serve: Callable[..., ServerProcess], events: str, tmp_path: Path
) -> None:
    """A tool that renews certificates may signal the server, which need not wait then."""
    first, second = issue(), issue()
    certificate, key = first.write(tmp_path, "server")
    server = serve(
        CATALOG,
        keys_file(READER),
        endpoint_url=events,
        env=ENVIRONMENT,
        args=[
            "--reload-interval=86400",
            f"--tls-certificate={certificate}",
            f"--tls-key={key}",
        ],
    )
    assert presented_serial(server.address) == first.x509.serial_number
    second.write(tmp_path, "server")
    server.signal(signal.SIGHUP)
    assert server.wait_for_event("config_file_reloaded")["file"] == str(certificate)
    assert presented_serial(server.address) == second.x509.serial_number
    assert server.stop() == 0


def test_the_end_of_a_terminal_is_the_end_of_its_server(events: str, tmp_path: Path) -> None:
    """It drains, as after SIGTERM."""
    (tmp_path / "catalog.yaml").write_text(yaml.safe_dump(CATALOG), "utf-8")
    (tmp_path / "keys.yaml").write_text(yaml.safe_dump(keys_file(READER)), "utf-8")
    command = [sys.executable, "-m", "dynamodb_processor_server", "serve"]
    command += ["--catalog=catalog.yaml", "--keys=keys.yaml", "--listen=127.0.0.1:0"]
    command += ["--metrics-listen=", f"--endpoint-url={events}"]
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=clean_environment(ENVIRONMENT),
        stdin=terminal,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            line = ""
            while '"serving"' not in line:
                line = process.stderr.readline()
                assert line, "it has ended"
            process.send_signal(signal.SIGHUP)
            assert '"drained"' in process.stderr.read()
            assert process.wait(60) == 0
        finally:
            process.kill()
    os.close(terminal)
    os.close(controller)
