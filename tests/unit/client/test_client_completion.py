"""Tests of the completion of `ddbq` in the shells that this machine has."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from dynamodb_processor_client.arguments import SHELLS
from dynamodb_processor_client.completion import completion_script
from tests.unit.client.commands import Run

# The words of a line whose last one is completed -> some completions, and some that are none.
_LINES: Final[dict[tuple[str, ...], tuple[set[str], set[str]]]] = {
    ("",): ({"query", "stream", "shell", "completion"}, {"invalidate"}),
    ("st",): ({"stream"}, {"query"}),
    ("cache", ""): ({"invalidate", "stats"}, {"query"}),
    ("stream", "--r"): ({"--resume"}, {"--columns"}),
    ("stream", "t", "--format", ""): ({"csv", "parquet", "jsonl"}, {"table"}),
    ("query", "t", "-o", "c"): ({"csv"}, {"json"}),
    ("completion", ""): (set(SHELLS), {"query"}),
}
_BASH: Final = """\
source "$1"; shift
COMP_WORDS=(ddbq "$@"); COMP_CWORD=$#
_shtab_ddbq 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""
_FISH: Final = """\
source $argv[1]
complete -C "ddbq "(string join ' ' -- $argv[2..]) | string replace -r '\\t.*' ''
"""
# zsh completes only on a terminal, which its module zpty provides.
_ZSH: Final = """\
zmodload zsh/zpty
zpty shell zsh -f -i
wait_for() { local line; while zpty -r shell line; do [[ $line == *$1* ]] && return; done }
zpty -w shell "PS1=; fpath=(${1:h} \\$fpath); autoload -U compinit; compinit -u -D; print rea''dy"
wait_for ready
zpty -w shell "bindkey '^I' list-choices; LISTMAX=10000; print se''t"
wait_for set
shift
zpty -n -w shell "ddbq $*"$'\\t'
sleep 1
zpty -w shell $'\\x15print end'
local line
while zpty -r shell line; do print -r -- $line; [[ $line == *end* ]] && break; done
"""
_ESCAPE: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_RUNNERS: Final = {
    "bash": ("bash", "-c", _BASH, "bash"),
    "fish": ("fish", "--no-config", "-c", _FISH),
    "zsh": ("zsh", "-f", "-c", _ZSH, "zsh"),
}
_PRESENT: Final = [shell for shell in SHELLS if shutil.which(shell)]


@pytest.fixture(scope="module", params=_PRESENT)
def script(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The completion script of a shell, under the name by which zsh finds it."""
    path = tmp_path_factory.mktemp(request.param) / "_ddbq"
    path.write_text(completion_script(request.param))
    return path


@pytest.mark.parametrize("words", _LINES, ids=" ".join)
def test_a_line_is_completed(script: Path, words: tuple[str, ...]) -> None:
    """Commands, options and their values are completed where they can stand, and others are not."""
    runner = _RUNNERS[script.parent.name.rstrip("0123456789")]
    done = subprocess.run(
        [*runner, str(script), *words], capture_output=True, text=True, check=True, timeout=60
    )
    lines = _ESCAPE.sub(" ", done.stdout).splitlines()
    found = {word for line in lines for word in line.partition(" -- ")[0].split()}
    included, excluded = _LINES[words]
    assert included <= found
    assert not excluded & found


def test_bash_is_present() -> None:
    """The test above runs at least in the shell that the Makefile needs."""
    assert "bash" in _PRESENT


@pytest.mark.parametrize("shell", SHELLS)
def test_every_option_is_in_the_script(shell: str) -> None:
    """The scripts come from the parser, so that they cannot lack an option."""
    script = completion_script(shell)
    for option in ("resume", "profile", "columns", "eta", "explain"):
        assert option in script


async def test_the_script_is_printed(run: Run) -> None:
    """`ddbq completion` prints the script; it needs neither a server nor a key."""
    outcome = await run("completion", "bash")
    assert (outcome.status, outcome.errors) == (0, "")
    assert outcome.output == completion_script("bash")


async def test_without_shtab(run: Run, environment: dict[str, str], tmp_path: Path) -> None:
    """Without shtab the error names the package to install."""
    (tmp_path / "shtab.py").write_text("raise ImportError('not here')\n")
    environment["PYTHONPATH"] = str(tmp_path)
    outcome = await run("completion", "bash")
    assert outcome.status == 2
    assert "completion needs shtab: pip install 'dynamodb-processor[completion]'" in outcome.errors
