#!/usr/bin/env bash
# dynamodb-csv 1.5.5 (exports DynamoDB tables to CSV and imports them), with moto 5.2.5 for DynamoDB.
#
# Exported and imported again, every boolean true is false, an item without the attribute gets it, and list
# elements with a space are cut. "Data types": a boolean is true or false, and an attribute may be absent. Seen,
# with the specification active=B, tags=SL:
#
#     stored                                      after export and import
#     {id: a, active: true, tags: [red wine]}     {id: a, active: false, tags: [red, wine]}
#     {id: b, active: false, tags: [x]}           {id: b, active: false, tags: [x]}
#     {id: c}                                     {id: c, active: false, tags: [""]}
#
# The CSV has an empty cell for true and for false, so the value is gone with the export already.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    dynamodb-csv==1.5.5 'moto[dynamodb]==5.2.5' 2>/dev/null

printf '[CSV_SPEC]\nid=S\nactive=B\ntags=SL\n' >"$folder/items.csv.spec"
AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=eu-central-1 \
    "$folder/venv/bin/python" - "$folder/items.csv" 2>/dev/null <<'PYTHON'
import sys

import boto3
from app.dynamodb.csv_export import csv_export
from app.dynamodb.csv_import import csv_import
from moto import mock_aws

ITEMS = [{"id": "a", "active": True, "tags": ["red wine"]}, {"id": "b", "active": False, "tags": ["x"]}, {"id": "c"}]
EXPECTED = [
    {"id": "a", "active": False, "tags": ["red", "wine"]},
    {"id": "b", "active": False, "tags": ["x"]},
    {"id": "c", "active": False, "tags": [""]},
]


def create_table(name):
    return boto3.resource("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


with mock_aws():
    source, target = create_table("source"), create_table("target")
    for item in ITEMS:
        source.put_item(Item=item)
    csv_export(source, sys.argv[1])
    csv_import(target, sys.argv[1])
    seen = sorted(target.scan()["Items"], key=lambda item: item["id"])
print(*seen, sep="\n")
sys.exit(seen != EXPECTED)
PYTHON
