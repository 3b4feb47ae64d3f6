"""The descriptors that client connections get, and the spare one."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from dynamodb_processor_server.runtime.descriptors import SpareDescriptor, connections_that_fit

_READ_WITHOUT_ANY = """
import os, resource, sys
from pathlib import Path
from dynamodb_processor_server.config_files import ConfigDocument
file = Path(sys.argv[1])
ConfigDocument.read(file)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for _ in range(3):
    print(ConfigDocument.read(file).content.decode())
"""


def _limit(monkeypatch: pytest.MonkeyPatch, soft: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))


@pytest.mark.parametrize(
    ("limit", "wanted", "backend", "fitting"),
    [
        (20_000, 1_000, 296, 1_000),
        (1_024, 1_000, 296, 564),
        (256, 1_000, 296, 64),
        (resource.RLIM_INFINITY, 1_000, 296, 1_000),
    ],
)
def test_connections_get_the_remaining_descriptors(
    monkeypatch: pytest.MonkeyPatch, limit: int, wanted: int, backend: int, fitting: int
) -> None:
    """They get at least a quarter of the limit, and never more than wanted."""
    _limit(monkeypatch, limit)
    assert connections_that_fit(wanted, backend) == fitting


def test_a_file_is_read_when_no_descriptor_is_left(tmp_path: Path) -> None:
    """The keys file can be read again and again by a process that has used up its descriptors."""
    file = tmp_path / "keys.yaml"
    file.write_text("keys: []")
    run = subprocess.run(
        [sys.executable, "-c", _READ_WITHOUT_ANY, str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split("\n")[:3] == ["keys: []"] * 3


def test_other_errors_are_raised() -> None:
    """The spare descriptor helps only if none is left."""
    spare = SpareDescriptor()

    def fail() -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with pytest.raises(PermissionError):
        spare.use(fail)


def test_a_lasting_lack_of_descriptors_is_raised() -> None:
    """If other work takes the spare one again and again, the error is raised."""
    spare = SpareDescriptor()

    def fail() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        spare.use(fail)
