"""Runs the build steps of the Dockerfile without a container engine, and starts the result.

The instructions of the build stage are executed in a folder of their own: paths below /opt and /src
are moved there, and `COPY` copies the files that git knows. So the check fails if the lock is not
enough for the server, if a hash is wrong, or if a file that the build needs is not copied.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
# The variables of this process that the build gets: where packages come from, and the way there.
_KEPT: Final = re.compile(
    r"(?i)PATH|HOME|LANG|TMPDIR|PIP_.*|.*_PROXY|SSL_CERT_.*|REQUESTS_CA_BUNDLE"
)

# The server looks for no credentials, and asks a port of this machine that nobody serves.
_NO_AWS: Final = {
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_START_SECONDS: Final = 120.0


class StepFailed(Exception):
    """A build step failed; the text has the step and the end of its output."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile, with its continuation lines joined."""

    name: str
    arguments: str


def instructions(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile, without comments."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    parts = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [Instruction(name.upper(), rest) for name, rest in parts]


def build_stage(text: str) -> list[Instruction]:
    """Return the instructions of the first stage, without its FROM."""
    found = instructions(text)
    stages = [number for number, one in enumerate(found) if one.name == "FROM"]
    return found[stages[0] + 1 : stages[1]]


@dataclass(frozen=True, slots=True)
class Builder:
    """Executes instructions below a folder that stands for the root of an image."""

    root: Path
    source: Path = ROOT

    def run(self, stage: Sequence[Instruction]) -> None:
        """Execute the instructions of a stage in their order. Raises StepFailed."""
        environment = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
        environment["PATH"] = f"{self._python()}{os.pathsep}{environment.get('PATH', '')}"
        folder = self.root
        for one in stage:
            match one.name:
                case "ENV":
                    environment |= dict(pair.split("=", 1) for pair in one.arguments.split())
                case "WORKDIR":
                    folder = Path(self._moved(one.arguments))
                    folder.mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(one.arguments.split(), folder)
                case "RUN":
                    self._shell(one.arguments, folder, environment)
                case _:
                    raise StepFailed(f"{one.name}: the check does not know this instruction")

    def _python(self) -> Path:
        """Make a folder with `python`, as the base image has it, and return it."""
        folder = self.root / "usr" / "local" / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
        (folder / "python").symlink_to(base)
        return folder

    def _moved(self, text: str) -> str:
        """Return a text in which absolute paths of the image lie below the root."""
        return re.sub(r"(?<![\w./-])/(?=(?:opt|src)\b)", f"{self.root}/", text)

    def _copy(self, paths: Sequence[str], folder: Path) -> None:
        *sources, target = paths
        for name in sources:
            listed = _git_files(self.source, name)
            if not listed:
                raise StepFailed(f"COPY {name}: git knows no such file")
            base = Path(name) if (self.source / name).is_dir() else Path(name).parent
            for file in listed:
                copied = folder / target / Path(file).relative_to(base)
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.source / file, copied)

    def _shell(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        done = subprocess.run(
            ["/bin/sh", "-c", self._moved(command)],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            end = "\n".join(done.stdout.splitlines()[-15:])
            raise StepFailed(f"RUN {command[:80]} ... ended with {done.returncode}:\n{end}")


def _git_files(source: Path, name: str) -> list[str]:
    command = ["git", "-C", str(source), "ls-files", "--", name]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [file for file in listed if (source / file).is_file()]


def try_server(environment: Path, folder: Path) -> Iterator[str]:
    """Start the installed server, whose table nobody has, and yield one line for each thing seen.

    Raises StepFailed if it does not serve in time, or does not end well.
    """
    program = environment / "bin" / "dynamodb-processor"
    (folder / "catalog.yaml").write_text("tables: {orders: {}}\n", "utf-8")
    (folder / "keys.yaml").write_text("keys: []\n", "utf-8")
    yield _output([str(program), "--version"])
    serve = [str(program), "serve", "--catalog", "catalog.yaml", "--keys", "keys.yaml"]
    serve += ["--listen", "127.0.0.1:0", "--metrics-listen", "", "--drain-delay", "0"]
    serve += ["--region", "eu-west-1", "--endpoint-url", "http://127.0.0.1:9"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(serve, cwd=folder, stderr=log, env=os.environ | _NO_AWS)
    try:
        address = _served_address(folder / "server.log", process)
        health = [str(program), "health", "--target", address, "--service", "liveness"]
        yield _output([*health, "--wait", "30"])
    finally:
        process.terminate()
        code = process.wait(60)
    if code != 0:
        raise StepFailed(f"the server ended with {code}: {(folder / 'server.log').read_text()}")


def _served_address(log: Path, process: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        found = re.search(r'"address": ?"([^"]+)"', log.read_text("utf-8"))
        if found:
            return found[1]
        time.sleep(0.1)
    raise StepFailed(f"the server does not serve: {log.read_text('utf-8')}")


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StepFailed(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def main() -> int:
    """Build as the Dockerfile does, and start the server; return 1 if that fails."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        try:
            Builder(root).run(build_stage((ROOT / "Dockerfile").read_text("utf-8")))
            for line in try_server(root / "opt" / "dynamodb-processor", root):
                print(line)
        except StepFailed as error:
            print(error)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
