"""The checks of alarms, dashboard and auto-scaling find each kind of fault."""

from __future__ import annotations

from typing import Any, Final

import cfn_alarms
import pytest
import yaml
from cfn_template import FOLDER, ROOT, Template, load, text_of

from tests.unit.deploy.planting import ABSENT, planted

SLOW: Final = ("Resources", "SlowCalls", "Properties")
FAILED: Final = ("Resources", "FailedCalls", "Properties")
SCALING: Final = (
    "Resources",
    "ScaleOnCalls",
    "Properties",
    "TargetTrackingScalingPolicyConfiguration",
    "CustomizedMetricSpecification",
)
NOTIFICATION: Final = (
    "Resources",
    "Budget",
    "Properties",
    "NotificationsWithSubscribers",
    0,
    "Subscribers",
)


@pytest.fixture(scope="module")
def templates() -> dict[str, Template]:
    """Every template."""
    return load()


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    """The table of metrics."""
    table: dict[str, Any] = yaml.safe_load((FOLDER / "metrics.yaml").read_text("utf-8"))
    return table


@pytest.fixture(scope="module")
def reference() -> str:
    """The page that lists the exported metrics."""
    return (ROOT / "docs/reference/metrics.md").read_text("utf-8")


def test_the_project_has_no_finding(templates: dict[str, Template]) -> None:
    """The project's own alarms pass every check."""
    assert list(cfn_alarms.check(templates)) == []


@pytest.mark.parametrize(
    ("template", "path", "fault", "finding"),
    [
        ("alarms", (*SLOW, "MetricName"), "CallMinutes", "metrics.yaml has no CallMinutes"),
        ("alarms", (*SLOW, "Dimensions", 1, "Name"), "Table", "CallSeconds is not sent with"),
        ("alarms", (*SLOW, "ExtendedStatistic"), "p90", "p90 of CallSeconds means nothing"),
        ("alarms", (*SLOW, "Unit"), "Milliseconds", "the unit of CallSeconds is Seconds"),
        (
            "alarms",
            (*FAILED, "Metrics", 1, "MetricStat", "Stat"),
            "Average",
            "Average of CallsTotal means nothing",
        ),
        ("service", (*SCALING, "MetricName"), "Calls", "ScaleOnCalls: metrics.yaml has no Calls"),
    ],
)
def test_a_metric_that_nobody_sends_is_found(
    templates: dict[str, Template],
    table: dict[str, Any],
    reference: str,
    template: str,
    path: tuple[str | int, ...],
    fault: Any,
    finding: str,
) -> None:
    """An alarm on a metric that is not sent so would never fire."""
    changed = templates | {template: planted(templates[template], path, fault)}
    found = cfn_alarms.check_metrics(table, changed["alarms"], changed["service"], reference)
    assert finding in "\n".join(found)


def test_a_metric_of_the_dashboard_is_checked(
    templates: dict[str, Template], table: dict[str, Any], reference: str
) -> None:
    """Widgets are read like alarms."""
    path = ("Resources", "Dashboard", "Properties", "DashboardBody", "Fn::Sub", 0)
    body = text_of(templates["alarms"]["Resources"]["Dashboard"]["Properties"]["DashboardBody"])
    changed = planted(templates["alarms"], path, body.replace('"CachedBytes"', '"CacheBytes"'))
    found = list(cfn_alarms.check_metrics(table, changed, templates["service"], reference))
    assert any("metrics.yaml has no CacheBytes" in one for one in found)
    assert "metrics.yaml: nothing uses CachedBytes" in found


@pytest.mark.parametrize(
    ("path", "fault", "finding"),
    [
        (("metrics", "CallsTotal", "prometheus"), "dynamodb_processor_calls", "in CamelCase"),
        (
            ("metrics", "CallsTotal", "prometheus"),
            "dynamodb_processor_gone_total",
            "has no dynamodb_processor_gone_total",
        ),
        (("metrics", "CallsTotal", "kind"), "sum", "there is no kind sum"),
    ],
)
def test_a_fault_of_the_table_is_found(
    templates: dict[str, Template],
    table: dict[str, Any],
    reference: str,
    path: tuple[str, ...],
    fault: str,
    finding: str,
) -> None:
    """The table names metrics that the server exports, by the rule for names."""
    changed = planted(table, path, fault)
    found = cfn_alarms.check_metrics(changed, templates["alarms"], templates["service"], reference)
    assert finding in "\n".join(found)


@pytest.mark.parametrize(
    ("path", "fault", "finding"),
    [
        ((*SLOW, "AlarmActions"), ABSENT, "SlowCalls: AlarmActions must be the topic"),
        ((*SLOW, "OKActions"), [], "SlowCalls: OKActions must be the topic"),
        ((*SLOW, "ActionsEnabled"), False, "ActionsEnabled must not be false"),
        ((*SLOW, "AlarmDescription"), "Slow", "must have a link to the runbook"),
        (
            (*SLOW, "AlarmDescription"),
            {"Fn::Sub": "Slow. ${Runbook}#slowness"},
            "the runbook has no section #slowness",
        ),
        (NOTIFICATION, [], "Budget: each notification must go to the topic"),
        (("Resources", "Budget", "Metadata"), ABSENT, "Budget: the description must have a link"),
    ],
)
def test_an_alarm_without_receiver_or_runbook_is_found(
    templates: dict[str, Template], path: tuple[str | int, ...], fault: Any, finding: str
) -> None:
    """Each alarm goes to the topic and names a section of the runbook that exists."""
    runbook = (ROOT / "docs/operations/runbook.md").read_text("utf-8")
    changed = planted(templates["alarms"], path, fault)
    found = cfn_alarms.check_receivers(changed, cfn_alarms.anchors_of(runbook))
    assert finding in "\n".join(found)
