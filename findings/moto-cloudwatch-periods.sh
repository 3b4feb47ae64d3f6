#!/usr/bin/env bash
# moto 5.2.5 (imitates CloudWatch), asked through boto3 1.44.
#
# GetMetricStatistics of moto begins its first period at the oldest data point; CloudWatch begins it at the
# start of the range. GetMetricStatistics reference: start times less than 15 days ago are rounded "down to the
# nearest whole minute", and a data point is stamped with the start of its period. Two values, of 12:00:50 and
# 12:01:10, asked for from 12:00 to 12:02 in periods of 60 s. Seen, with the right answer to the right:
#
#     12:00:50 sum 3      12:00:00 sum 1, 12:01:00 sum 2
#
# GetMetricData of the same version answers as CloudWatch does, so two calls on one metric disagree. A test of
# a rate per minute or of "three periods in a row" counts too few periods.
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

EXPECTED = {"statistics": [("12:00:50", 3.0)], "data": [("12:00:00", 1.0), ("12:01:00", 2.0)]}
NOON = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
SPAN = {"StartTime": NOON, "EndTime": NOON + timedelta(minutes=2)}
METRIC = {"Namespace": "shop", "MetricName": "Orders"}

with mock_aws():
    cloudwatch = boto3.client("cloudwatch")
    for value, second in (1, 50), (2, 70):
        datum = {"MetricName": "Orders", "Value": value, "Timestamp": NOON + timedelta(seconds=second)}
        cloudwatch.put_metric_data(Namespace="shop", MetricData=[datum])
    points = cloudwatch.get_metric_statistics(**METRIC, Period=60, Statistics=["Sum"], **SPAN)["Datapoints"]
    query = {"Id": "q", "MetricStat": {"Metric": METRIC, "Period": 60, "Stat": "Sum"}}
    result = cloudwatch.get_metric_data(MetricDataQueries=[query], **SPAN)["MetricDataResults"][0]

seen = {
    "statistics": sorted((f"{point['Timestamp']:%H:%M:%S}", point["Sum"]) for point in points),
    "data": sorted((f"{time:%H:%M:%S}", value) for time, value in zip(result["Timestamps"], result["Values"])),
}
print(seen)
sys.exit(seen != EXPECTED)
PYTHON
