"""Generates the code of the TypeScript client from the contract.

Run by `make typescript`. With `--check`, as by `make check`, compares it with the committed code,
and type-checks the client with its tests.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from google.rpc import error_details_pb2

from dynamodb_processor_server.demo.tool_cache import ToolCache

_ROOT: Final = Path(__file__).resolve().parent.parent
_PROTO: Final = _ROOT / "proto"
_PACKAGE: Final = _ROOT / "clients/typescript"
_GENERATED: Final = Path("src/gen")
_SCRATCH: Final = _ROOT / "build/typescript"


def main(arguments: list[str]) -> int:
    """Generate, or compare and type-check; return 0 if all is well, else 1."""
    cache = ToolCache(report=print)
    packages = cache.npm_project("typescript", _PACKAGE) / "node_modules"
    if arguments != ["--check"]:
        _generate(cache, packages, _PACKAGE / _GENERATED)
        return 0
    shutil.rmtree(_SCRATCH, ignore_errors=True)
    _generate(cache, packages, _SCRATCH / "generated")
    if _differs(_SCRATCH / "generated", _PACKAGE / _GENERATED):
        print("the TypeScript code is not what the proto files make: run make typescript")
        return 1
    return _type_check(cache, packages)


def _generate(cache: ToolCache, packages: Path, target: Path) -> None:
    """Write the code of the contract and of the details of errors into an empty folder."""
    details = Path(error_details_pb2.__file__).with_name("error_details.proto")
    files = [*sorted(_PROTO.rglob("*.proto")), details]
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{_PROTO}", f"-I{details.parents[2]}"]
    command += [f"--plugin=protoc-gen-es={packages / '.bin/protoc-gen-es'}"]
    command += [f"--es_out={target}", "--es_opt=target=ts,import_extension=js"]
    # The plugin is a script for the `node` on the path.
    path = os.pathsep.join([str(Path(cache.node()).parent), os.environ["PATH"]])
    subprocess.run([*command, *map(str, files)], check=True, env={**os.environ, "PATH": path})


def _differs(one: Path, other: Path) -> bool:
    """Tell whether two folders have other files, or files with other content."""
    names = {file.relative_to(one) for file in one.rglob("*.ts")}
    if names != {file.relative_to(other) for file in other.rglob("*.ts")}:
        return True
    _, different, wrong = filecmp.cmpfiles(one, other, map(str, names), shallow=False)
    return bool(different or wrong)


def _type_check(cache: ToolCache, packages: Path) -> int:
    """Run the compiler on a copy beside the fetched packages."""
    for name in ("src", "test"):
        shutil.copytree(_PACKAGE / name, _SCRATCH / name)
    for name in ("package.json", "tsconfig.json"):
        shutil.copy(_PACKAGE / name, _SCRATCH)
    (_SCRATCH / "node_modules").symlink_to(packages)
    compiler = _SCRATCH / "node_modules/typescript/bin/tsc"
    return subprocess.run(
        [cache.node(), compiler, "--noEmit"], cwd=_SCRATCH, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
