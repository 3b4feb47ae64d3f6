"""Checks alarms, dashboard and auto-scaling: their metrics, their receiver and the runbook."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import yaml
from cfn_template import FOLDER, ROOT, Template, resources, text_of

_PREFIX: Final = "dynamodb_processor_"
_LINK: Final = re.compile(r"\$\{Runbook\}#([\w-]+)")
_BUDGET_LINK: Final = re.compile(r"docs/operations/runbook\.md#([\w-]+)")
_STATISTICS: Final = {
    "increase": {"Sum"},
    "value": {"Average", "Maximum"},
    "values": {"p50", "p99"},
}


class Use(NamedTuple):
    """A use of a metric, at a place; `unit` is empty where none is named."""

    where: str
    name: str
    dimensions: frozenset[str]
    statistic: str
    unit: str = ""


def uses(namespace: str, alarms: Template, service: Template) -> Iterator[Use]:
    """Yield every use of a metric of the namespace."""
    yield from _alarmed(namespace, alarms)
    yield from _tracked(namespace, service)
    yield from _shown(namespace, alarms)


def _alarmed(namespace: str, alarms: Template) -> Iterator[Use]:
    for name, alarm in resources(alarms, "AWS::CloudWatch::Alarm"):
        properties = alarm["Properties"]
        if properties.get("Namespace") == namespace:
            yield _use(name, properties, properties)
        for query in properties.get("Metrics", []):
            stat = query.get("MetricStat")
            if stat and stat["Metric"]["Namespace"] == namespace:
                yield _use(name, stat["Metric"], stat)


def _tracked(namespace: str, service: Template) -> Iterator[Use]:
    for name, policy in resources(service, "AWS::ApplicationAutoScaling::ScalingPolicy"):
        tracking = policy["Properties"]["TargetTrackingScalingPolicyConfiguration"]
        metric = tracking.get("CustomizedMetricSpecification", {})
        if metric.get("Namespace") == namespace:
            yield _use(name, metric, metric)


def _shown(namespace: str, alarms: Template) -> Iterator[Use]:
    for name, dashboard in resources(alarms, "AWS::CloudWatch::Dashboard"):
        for widget in json.loads(text_of(dashboard["Properties"]["DashboardBody"]))["widgets"]:
            shown = widget["properties"]
            for row in shown["metrics"]:
                options = row[-1] if isinstance(row[-1], dict) else {}
                words = [word for word in row if isinstance(word, str)]
                if words[0] == namespace:
                    statistic = options.get("stat", shown.get("stat", "Average"))
                    where = f"{name}, {shown['title']!r}"
                    yield Use(where, words[1], frozenset(words[2::2]), statistic)


def _use(where: str, metric: Mapping[str, Any], stat: Mapping[str, Any]) -> Use:
    statistic = stat.get("Stat") or stat.get("Statistic") or stat.get("ExtendedStatistic", "")
    names = frozenset(dimension["Name"] for dimension in metric["Dimensions"])
    return Use(where, metric["MetricName"], names, statistic, stat.get("Unit", ""))


def check_metrics(
    table: Mapping[str, Any], alarms: Template, service: Template, reference: str
) -> Iterator[str]:
    """Yield differences between the table of metrics, its uses and docs/reference/metrics.md."""
    metrics = table["metrics"]
    yield from _check_names(metrics, reference)
    seen = set()
    for use in uses(table["namespace"], alarms, service):
        seen.add(use.name)
        if use.name in metrics:
            yield from _check_use(use, metrics[use.name])
        else:
            yield f"{use.where}: metrics.yaml has no {use.name}"
    for name in sorted(set(metrics) - seen):
        yield f"metrics.yaml: nothing uses {name}"


def _check_names(metrics: Mapping[str, Any], reference: str) -> Iterator[str]:
    for name, metric in metrics.items():
        source = metric["prometheus"]
        words = source.removeprefix(_PREFIX).split("_")
        if name != "".join(map(str.title, words)):
            yield f"metrics.yaml: {name} is not {source} in CamelCase"
        if f"| `{source}` |" not in reference:
            yield f"metrics.yaml: docs/reference/metrics.md has no {source}"
        if metric["kind"] not in _STATISTICS:
            yield f"metrics.yaml: {name}: there is no kind {metric['kind']}"


def _check_use(use: Use, metric: Mapping[str, Any]) -> Iterator[str]:
    name, kind, unit = use.name, metric["kind"], metric["unit"]
    if sorted(use.dimensions) not in map(sorted, metric["dimensions"]):
        yield f"{use.where}: {name} is not sent with {sorted(use.dimensions)}"
    if use.statistic not in _STATISTICS.get(kind, ()):
        yield f"{use.where}: {use.statistic} of {name} means nothing: its kind is {kind}"
    if use.unit not in ("", unit):
        yield f"{use.where}: the unit of {name} is {unit}, not {use.unit}"


def check_receivers(alarms: Template, anchors: set[str]) -> Iterator[str]:
    """Yield alarms that do not go to the topic, or name no section of the runbook."""
    ((topic, _),) = resources(alarms, "AWS::SNS::Topic")
    for name, alarm in resources(alarms, "AWS::CloudWatch::Alarm"):
        properties = alarm["Properties"]
        for field in ("AlarmActions", "OKActions"):
            if properties.get(field) != [{"Ref": topic}]:
                yield f"{name}: {field} must be the topic"
        if properties.get("ActionsEnabled") in (False, "false"):
            yield f"{name}: ActionsEnabled must not be false"
        yield from _check_link(name, _LINK.search(text_of(properties["AlarmDescription"])), anchors)
    for name, budget in resources(alarms, "AWS::Budgets::Budget"):
        for notification in budget["Properties"].get("NotificationsWithSubscribers", [{}]):
            if notification.get("Subscribers") != [
                {"SubscriptionType": "SNS", "Address": {"Ref": topic}}
            ]:
                yield f"{name}: each notification must go to the topic"
        runbook = budget.get("Metadata", {}).get("Runbook", "")
        yield from _check_link(name, _BUDGET_LINK.search(runbook), anchors)


def _check_link(name: str, link: re.Match[str] | None, anchors: set[str]) -> Iterator[str]:
    if link is None:
        yield f"{name}: the description must have a link to the runbook"
    elif link[1] not in anchors:
        yield f"{name}: the runbook has no section #{link[1]}"


def anchors_of(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def check(templates: Mapping[str, Template]) -> Iterator[str]:
    """Yield every finding in the project's files."""
    table = yaml.safe_load((FOLDER / "metrics.yaml").read_text("utf-8"))
    reference = (ROOT / "docs/reference/metrics.md").read_text("utf-8")
    runbook = (ROOT / "docs/operations/runbook.md").read_text("utf-8")
    yield from check_metrics(table, templates["alarms"], templates["service"], reference)
    yield from check_receivers(templates["alarms"], anchors_of(runbook))
