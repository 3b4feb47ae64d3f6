"""Commands of the operations pages, and whether each names things that exist.

A command is a line of a console block, or the code in the column "command" of a table. Checked are
`dynamodb-processor` and `ddbq` with their flags, the functions `metrics` and `logs` of the page on
troubleshooting, and patterns for `grep` in the metrics or the log of a server.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dynamodb_processor_client.arguments import command_parser
from dynamodb_processor_server.__main__ import _parser
from dynamodb_processor_server.reader import CacheStatus
from dynamodb_processor_server.telemetry.audit import AUDIT
from tests.support.documentation import ROOT, code_blocks

_METRIC: Final = re.compile(r"^\| `((?:dynamodb_processor|process|python)_\w+)` \|", re.MULTILINE)
_EVENT: Final = re.compile(r"^\| (`[^|]+`) \|", re.MULTILINE)
_SUFFIXES: Final = ("", "_sum", "_count", "_bucket")
_CHECKED: Final = ("dynamodb-processor ", "ddbq ", "metrics ", "logs ", "curl ", "grep ")
# An ellipsis for further arguments, a redirection, a command in the background.
_SHELL: Final = re.compile(r"\s(?:\.\.\.|…|\d?>(?:&\d|\s*[\w/-]+\.\w+)|&)(?=\s|$)")


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the tables below a heading, without the heads of the tables."""
    text = (ROOT / page).read_text(encoding="utf-8")
    level = heading.partition(" ")[0]
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, heading
    section = re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    lines = section.splitlines()
    heads = {number for number, line in enumerate(lines[1:]) if line.startswith("|---")}
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for number, line in enumerate(lines)
        if line.startswith("| ") and number not in heads
    ]


def block_commands(page: str) -> list[str]:
    """Return the commands in the console blocks of a page that are checked."""
    lines = "\n".join(code_blocks(page, "console")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith(_CHECKED)]


@dataclass(frozen=True, slots=True)
class Names:
    """The names that commands may use."""

    metrics: frozenset[str]
    events: frozenset[str]
    reasons: frozenset[str]

    @classmethod
    def documented(cls, reasons: frozenset[str]) -> Names:
        """Return the metrics and events of their reference pages, with these reasons."""
        metrics = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
        logs = (ROOT / "docs/operations/metrics-and-logs.md").read_text(encoding="utf-8")
        events = _EVENT.findall(logs.partition("\n## Log events\n")[2])
        return cls(
            frozenset(_METRIC.findall(metrics)),
            frozenset(event for cell in events for event in re.findall(r"\w+", cell)),
            reasons,
        )

    def findings(self, line: str) -> Iterator[str]:
        """Yield each name in a line of commands that does not exist."""
        lexer = shlex.shlex(_SHELL.sub(" ", line), posix=True, punctuation_chars="|;")
        lexer.whitespace_split = True
        command: list[str] = []
        for word in [*lexer, ";"]:
            if word in {";", "|"}:
                yield from self._of(command)
                command = []
            else:
                command.append(word)

    def _of(self, command: Sequence[str]) -> Iterator[str]:
        match command:
            case ["dynamodb-processor" | "ddbq" as program, *arguments]:
                yield from _refusal(program, arguments)
            case ["metrics", *names]:
                yield from self._unknown_metrics(names)
            case ["logs", field, *values]:
                known = self._values(field)
                yield from (f"no {field} {value}" for value in values if value not in known)
            case ["grep", "-E", pattern]:
                yield from self._unknown_metrics(_alternatives(pattern))
            case ["grep", name, "LOG"] if name not in self.events:
                yield f"no event {name}"
            case ["grep", pattern]:
                yield from self._unknown_metrics([pattern])

    def _unknown_metrics(self, patterns: Sequence[str]) -> Iterator[str]:
        """Yield a finding for each pattern that matches no sample of any metric."""
        labels = f'{{reason="{" ".join(sorted(self.reasons))}"}}'
        samples = [f"{name}{suffix}{labels}" for name in self.metrics for suffix in _SUFFIXES]
        for pattern in patterns:
            if not any(re.search(pattern, sample) for sample in samples):
                yield f"no metric {pattern}"

    def _values(self, field: str) -> frozenset[str]:
        match field:
            case "event":
                return self.events
            case "reason":
                return self.reasons
            case "cache":
                return frozenset(CacheStatus)
            case "logger":
                return frozenset({AUDIT})
            case "request_id":
                return frozenset({"ID"})
        return frozenset()


def _alternatives(pattern: str) -> list[str]:
    """Return the alternatives of a pattern; those in parentheses stay together."""
    return re.findall(r"(?:\([^)]*\)|[^|(])+", pattern)


def _refusal(program: str, arguments: Sequence[str]) -> Iterator[str]:
    """Yield the error of a command line that its program would refuse."""
    parser = _parser(arguments) if program == "dynamodb-processor" else command_parser()
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            parser.parse_args(arguments)
        except SystemExit:
            yield f"{program}: {errors.getvalue().splitlines()[-1]}"
