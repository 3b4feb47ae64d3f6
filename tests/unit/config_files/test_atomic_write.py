"""Files that are replaced keep their mode, owner and group."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dynamodb_processor_server.config_files.atomic_write import replace_file
from dynamodb_processor_server.errors import ConfigurationError


def test_the_group_of_a_file_stays(tmp_path: Path) -> None:
    """The server may read the file as a member of its group alone, while root rotates the keys."""
    path = tmp_path / "keys"
    path.write_text("old")
    group = 12_345 if os.geteuid() == 0 else os.getgid()  # only root may give any group
    os.chown(path, -1, group)
    path.chmod(0o640)
    replace_file(path, "new")
    found = path.stat()
    assert (path.read_text(), found.st_gid, stat.S_IMODE(found.st_mode)) == ("new", group, 0o640)


def test_a_new_file_has_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    """A file of digests may be read by others, a file of secrets may not."""
    for name, mode in (("a", 0o644), ("b", 0o600)):
        replace_file(tmp_path / name, "new", new_mode=mode)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """Nothing is created."""
    with pytest.raises(ConfigurationError, match="cannot be written: No such file or directory"):
        replace_file(tmp_path / "none" / "keys", "new")
