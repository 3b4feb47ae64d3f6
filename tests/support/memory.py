"""The memory of another process, as Linux counts it."""

from __future__ import annotations

from pathlib import Path


def resident_mebibytes(pid: int) -> float:
    """Return the resident memory of a process, in MiB."""
    return _status(pid, "VmRSS")


def peak_mebibytes(pid: int) -> float:
    """Return the largest resident memory that a process has had, in MiB."""
    return _status(pid, "VmHWM")


def _status(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no {name}")
