#!/usr/bin/env bash
# dynamodb-csv 1.5.5 (imports CSV files into DynamoDB tables), with moto 5.2.5 for DynamoDB.
#
# An import that DynamoDB refused prints the error and then reports all rows as imported, with status 0. BatchWriteItem:
# where one request of a batch is not valid, "DynamoDB rejects the entire batch write operation"; nothing is
# stored. Seen, for three rows of which the second has no key:
#
#     the command's message and status     target csv imported 3 items, 0
#     items in the table                   0
#
# Scripts that move or truncate the source afterwards lose the data.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    dynamodb-csv==1.5.5 'moto[dynamodb]==5.2.5' 2>/dev/null

printf '[CSV_SPEC]\nid=S\ncount=I\n' >"$folder/items.csv.spec"
printf 'id,count\na,1\n,2\nc,3\n' >"$folder/items.csv"
AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=eu-central-1 \
    "$folder/venv/bin/python" - "$folder/items.csv" 2>/dev/null <<'PYTHON'
import sys

import boto3
from app.dynamodb.csv_import import csv_import
from moto import mock_aws

EXPECTED = (("target csv imported 3 items", 0), 0)

with mock_aws():
    table = boto3.resource("dynamodb").create_table(
        TableName="target",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    seen = (csv_import(table, sys.argv[1]), table.scan()["Count"])
print(seen)
sys.exit(seen != EXPECTED)
PYTHON
