#!/usr/bin/env bash
# ministack 1.5.33 (imitates AWS), its CloudWatch, called in one process without a port.
#
# An alarm counts the metrics of all dimensions, whatever its own are. PutMetricAlarm: Dimensions are "the
# dimensions for the metric specified in MetricName", and CloudWatch "treats each unique combination of dimensions
# as a separate metric". Seen, for an alarm on shop/Errors{service=a} with Sum > 100, with the right state to the
# right:
#
#     {service=a} 1                          OK        OK
#     {service=a} 1 and {service=b} 500      ALARM     OK     ("Sum 501.0")
#
# A test of alarms per service or per table sees them all go off together.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ministack==1.5.33 2>/dev/null

"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import asyncio
import json
import sys

from ministack.services import cloudwatch

EXPECTED = ["OK", "ALARM"]


def call(operation, **body):
    headers = {"x-amz-target": f"GraniteServiceVersion20100801.{operation}", "content-type": "application/json"}
    answer = asyncio.run(cloudwatch.handle_request("POST", "/", headers, json.dumps(body).encode(), {}))
    return json.loads(answer[2])


def dimensions(service):
    return [{"Name": "service", "Value": service}]


def state_after(service, value):
    datum = {"MetricName": "Errors", "Value": value, "Dimensions": dimensions(service)}
    call("PutMetricData", Namespace="shop", MetricData=[datum])
    return call("DescribeAlarms", AlarmNames=["errors-of-a"])["MetricAlarms"][0]["StateValue"]


call(
    "PutMetricAlarm",
    AlarmName="errors-of-a",
    Namespace="shop",
    MetricName="Errors",
    Dimensions=dimensions("a"),
    Statistic="Sum",
    Period=60,
    EvaluationPeriods=1,
    Threshold=100,
    ComparisonOperator="GreaterThanThreshold",
)
seen = [state_after("a", 1), state_after("b", 500)]
print(*seen, sep="\n")
sys.exit(seen != EXPECTED)
PYTHON
