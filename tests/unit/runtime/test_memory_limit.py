"""The memory that a process may use, by both versions of cgroups and without any."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamodb_processor_server.runtime.memory_limit import memory_limit, physical_memory

_PHYSICAL = 8 * 1024**3
_V1_NO_LIMIT = "9223372036854771712\n"


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "1000\n"}, 1_000),
        ("0::/\n", {"memory.max": "max\n"}, _PHYSICAL),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "3000\n"}, 3_000),
        ("0::/a/b\n", {"a/b/memory.max": "2000\n", "a/memory.max": "3000\n"}, 2_000),
        ("0::/kubepods/pod1\n", {"memory.max": "4000\n"}, 4_000),
        ("5:cpu:/\n4:memory:/a\n", {"memory/a/memory.limit_in_bytes": "5000\n"}, 5_000),
        ("4:cpu,memory:/a\n", {"memory/memory.limit_in_bytes": "6000\n"}, 6_000),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": _V1_NO_LIMIT}, _PHYSICAL),
        ("0::/\n", {"memory.max": f"{_PHYSICAL * 2}\n"}, _PHYSICAL),
        ("0::/\n", {}, _PHYSICAL),
        ("5:cpu:/\n", {"memory.max": "1000\n"}, _PHYSICAL),
    ],
)
def test_the_lowest_limit_counts(
    membership: str, files: dict[str, str], limit: int, tmp_path: Path
) -> None:
    """That is the limit of the cgroup, of one above it, or the physical memory."""
    _write(tmp_path / "proc/self/cgroup", membership)
    for name, text in files.items():
        _write(tmp_path / "sys/fs/cgroup" / name, text)
    assert memory_limit(_PHYSICAL, tmp_path) == limit


def test_without_cgroups_the_physical_memory_is_the_limit(tmp_path: Path) -> None:
    """Systems other than Linux have no cgroups, and some do not tell their memory either."""
    assert memory_limit(_PHYSICAL, tmp_path) == _PHYSICAL
    assert memory_limit(None, tmp_path) is None


def test_this_machine_has_memory() -> None:
    """The limit of the running process is a number of bytes of the usual size."""
    physical = physical_memory()
    limit = memory_limit(physical)
    assert physical is not None
    assert limit is not None
    assert 64 * 1024**2 < limit <= physical


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
