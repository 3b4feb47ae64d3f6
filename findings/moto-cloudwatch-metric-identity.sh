#!/usr/bin/env bash
# moto 5.2.5 (imitates CloudWatch), asked through boto3 1.44.
#
# It adds up metrics that CloudWatch keeps apart. CloudWatch concepts: "CloudWatch treats each unique
# combination of dimensions as a separate metric", and metrics of different namespaces "are isolated from each
# other". GetMetricStatistics of moto also takes metrics that have further dimensions, and GetMetricData with
# dimensions takes metrics of every namespace. Stored here: shop/Latency{service=a} 10,
# shop/Latency{service=a, route=x} 90 and bank/Latency{service=a} 1000. Seen, with the right sums to the right:
#
#     GetMetricStatistics shop/Latency{service=a}      100     10
#     GetMetricStatistics shop/Latency                 100     no data point
#     GetMetricData       shop/Latency{service=a}     1010     10
#
# An alarm or an autoscaling rule that passes such a test reads other numbers in production.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'moto[cloudwatch]==5.2.5' boto3==1.44.8 2>/dev/null

AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=eu-central-1 \
    "$folder/venv/bin/python" - <<'PYTHON'
import sys
from datetime import datetime, timedelta, timezone

import boto3
from moto import mock_aws

EXPECTED = [100.0, 100.0, 1010.0]
NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
SPAN = {"StartTime": NOON, "EndTime": NOON + timedelta(minutes=1)}
SERVICE = {"Name": "service", "Value": "a"}
ROUTE = {"Name": "route", "Value": "x"}


def put(namespace, value, *dimensions):
    datum = {"MetricName": "Latency", "Value": value, "Dimensions": dimensions, "Timestamp": NOON}
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum])


def statistics(*dimensions):
    answer = cloudwatch.get_metric_statistics(
        Namespace="shop", MetricName="Latency", Dimensions=dimensions, Period=60, Statistics=["Sum"], **SPAN
    )
    return sum(point["Sum"] for point in answer["Datapoints"])


def data(*dimensions):
    metric = {"Namespace": "shop", "MetricName": "Latency", "Dimensions": dimensions}
    query = {"Id": "q", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}
    return sum(cloudwatch.get_metric_data(MetricDataQueries=[query], **SPAN)["MetricDataResults"][0]["Values"])


with mock_aws():
    cloudwatch = boto3.client("cloudwatch")
    put("shop", 10, SERVICE)
    put("shop", 90, SERVICE, ROUTE)
    put("bank", 1000, SERVICE)
    seen = [statistics(SERVICE), statistics(), data(SERVICE)]
print(seen)
sys.exit(seen != EXPECTED)
PYTHON
