"""The page on troubleshooting is complete, and the commands of all pages exist."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from cfn_template import load, resources, text_of

from tests.support.documentation import ROOT, code_blocks
from tests.support.documented_commands import Names, block_commands, rows
from tests.unit.test_error_reference import sent

PAGE: Final = "docs/operations/troubleshooting.md"
ALARMS: Final = rows(PAGE, "## Alarms")
ERRORS: Final = rows(PAGE, "## Errors")
SYMPTOMS: Final = rows(PAGE, "## Symptoms without an alarm")
REASONS: Final = frozenset(reason for reason, _ in sent())
NAMES: Final = Names.documented(REASONS)
_LINK: Final = re.compile(r"runbook\.md#([\w-]+)")
_PAGES: Final = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "docs").rglob("*.md"))


def alarms() -> dict[str, str]:
    """Return every alarm of Prometheus and of CloudWatch, with its section of the runbook."""
    rules: Any = yaml.safe_load((ROOT / "deploy/prometheus/rules.yaml").read_text("utf-8"))
    found = {
        rule["alert"]: rule["annotations"]["runbook_url"].partition("#")[2]
        for group in rules["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    template = load()["alarms"]
    for _, alarm in resources(template, "AWS::CloudWatch::Alarm"):
        properties = alarm["Properties"]
        section = text_of(properties["AlarmDescription"]).partition("#")[2]
        found[_named(properties["AlarmName"])] = section
    for _, budget in resources(template, "AWS::Budgets::Budget"):
        name = _named(budget["Properties"]["Budget"]["BudgetName"])
        found[name] = budget["Metadata"]["Runbook"].partition("#")[2]
    return found


def _named(name: Any) -> str:
    """Return the name of an alarm, without that of the deployment."""
    return text_of(name).replace("${Deployment}", "…")


def test_every_alarm_has_a_row_that_leads_to_its_section() -> None:
    """Each has one row, and no row is left of an alarm that is gone."""
    written = [(row[0].strip("`"), _LINK.findall(row[-1])) for row in ALARMS]
    assert sorted(written) == sorted((name, [section]) for name, section in alarms().items())


def test_every_reason_has_a_row() -> None:
    """No row is left of a reason that is never sent; a reason may have several causes."""
    written = [re.fullmatch(r"\[`([A-Z_]+)`\]\(\S+errors\.md#(\w+)\)", row[0]) for row in ERRORS]
    names = [(found[1], found[2]) for found in written if found is not None]
    assert len(names) == len(ERRORS)
    assert {name for name, _ in names} == REASONS
    assert all(anchor == name.lower() for name, anchor in names)


@pytest.mark.parametrize("row", [*ALARMS, *ERRORS, *SYMPTOMS], ids=lambda row: row[0])
def test_every_row_leads_from_its_symptom_to_a_fix(row: list[str]) -> None:
    """It has a cause, one command that exists, and a fix."""
    assert len(row) in (4, 5)
    assert all(row)
    command = re.fullmatch(r"`([^`]+)`", row[-2])
    assert command is not None, row[-2]
    assert list(NAMES.findings(command[1])) == []


def test_no_two_rows_are_about_the_same() -> None:
    """A symptom is found once."""
    counts = Counter((row[0], row[1]) for row in [*ALARMS, *ERRORS, *SYMPTOMS])
    assert max(counts.values()) == 1


@pytest.mark.parametrize("page", _PAGES)
def test_the_commands_of_a_page_exist(page: str) -> None:
    """Sub-commands, flags, metrics and log events in its console blocks do."""
    for command in block_commands(page):
        assert list(NAMES.findings(command)) == [], command


@pytest.mark.parametrize(
    ("command", "finding"),
    [
        ("dynamodb-processor check", "invalid choice: 'check'"),
        ("dynamodb-processor health --adress HOST:1", "unrecognized arguments: --adress"),
        ("ddbq describe TABLE", "invalid choice: 'describe'"),
        ("ddbq explain TABLE --why", "unrecognized arguments: --why"),
        ("metrics breaker_state breaker_status", "no metric breaker_status"),
        ("logs event throttled trottled", "no event trottled"),
        ("logs reason TOO_MUCH", "no reason TOO_MUCH"),
        ("logs colour red", "no colour red"),
        ("curl -s HOST/metrics | grep -E 'ready|redy'", "no metric redy"),
        ("curl -s HOST/metrics | grep redy", "no metric redy"),
        ("grep call_faild LOG | tail -1", "no event call_faild"),
        ("dynamodb-processor config; dynamodb-processor confg", "invalid choice: 'confg'"),
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str, finding: str) -> None:
    """The check of commands reports each kind of wrong name."""
    (found,) = NAMES.findings(command)
    assert finding in found


def test_the_functions_of_the_page_find_metrics_and_lines(tmp_path: Path) -> None:
    """`metrics` leaves comments out, and `logs` finds the values of one field."""
    (functions,) = code_blocks(PAGE, "bash")
    metrics, log = tmp_path / "metrics", tmp_path / "server.log"
    metrics.write_text(
        "# HELP dynamodb_processor_ready x\ndynamodb_processor_ready 1\n"
        'dynamodb_processor_breaker_state{table="t"} 0\ndynamodb_processor_tasks 3\n',
        "utf-8",
    )
    log.write_text(
        '{"event":"call","reason":"OVERLOADED"}\n{"event":"throttled","table":"call"}\n'
        '{"event":"breaker_opened"}\n',
        "utf-8",
    )
    script = (
        f"{functions}\nMETRICS={metrics.as_uri()}\nLOG={log}\n"
        "metrics ready breaker_state\nlogs event throttled breaker_opened\nlogs reason OVERLOADED\n"
    )
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607 - the shell of the page
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert ran.stdout.splitlines() == [
        "dynamodb_processor_ready 1",
        'dynamodb_processor_breaker_state{table="t"} 0',
        '{"event":"throttled","table":"call"}',
        '{"event":"breaker_opened"}',
        '{"event":"call","reason":"OVERLOADED"}',
    ]
