"""Finds the memory that this process may use: the limit of its cgroup, or of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/")


def memory_limit(physical: int | None, root: Path = _ROOT) -> int | None:
    """Return the bytes of memory that this process may use, None if no source names a number.

    That is the lowest of the physical memory and the limits of the process's cgroup and of the
    cgroups above it. Both versions of cgroups are read; one without a limit says `max` (version 2)
    or a number above any memory (version 1).

    Args:
        physical: The bytes of the machine's memory, if they are known.
        root: The directory that contains `proc` and `sys`.
    """
    limits = [*_cgroup_limits(root), *([] if physical is None else [physical])]
    return min(limits, default=None)


def _cgroup_limits(root: Path) -> Iterator[int]:
    mount = root / "sys/fs/cgroup"
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield from _limits_up_to(mount, path, "memory.max")
            elif "memory" in controllers.split(","):
                yield from _limits_up_to(mount / "memory", path, "memory.limit_in_bytes")


def _limits_up_to(mount: Path, path: str, name: str) -> Iterator[int]:
    """Yield the limits of a cgroup and of all cgroups above it.

    A container may see the path that its cgroup has on the host, but only its own cgroup, mounted
    at `mount`: directories that do not exist are passed over.
    """
    cgroup = mount / path.lstrip("/")
    for directory in (cgroup, *cgroup.parents):
        with suppress(OSError, ValueError):  # no such cgroup, or `max`
            yield int((directory / name).read_text())
        if directory == mount:
            return


def physical_memory() -> int | None:
    """Return the bytes of the machine's memory, None on systems that do not tell."""
    with suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None
