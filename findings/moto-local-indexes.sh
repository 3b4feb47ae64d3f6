#!/usr/bin/env bash
# moto 5.2.5 (imitates DynamoDB), asked through boto3 1.44.
#
# A query of a local secondary index returns no attribute that the index does not hold, without an error.
# "Secondary indexes": of a local one "you can request attributes that are not projected in to the index", and
# DynamoDB "automatically fetches those attributes from the table". The index has the keys only, the item has y
# too. Seen, with the right answer (and DynamoDB Local's) to the right:
#
#     Select ALL_ATTRIBUTES          no y           y
#     ProjectionExpression y         {}             {y}
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'moto[dynamodb]==5.2.5' boto3==1.44.8 2>/dev/null

AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=eu-central-1 \
    "$folder/venv/bin/python" - <<'PYTHON'
import sys

import boto3
from moto import mock_aws

EXPECTED = [["p", "s", "x"], []]
KEYS = ("p", "HASH"), ("s", "RANGE"), ("x", "RANGE")

with mock_aws():
    client = boto3.client("dynamodb")
    schema = [{"AttributeName": name, "KeyType": kind} for name, kind in KEYS]
    client.create_table(
        TableName="items",
        KeySchema=schema[:2],
        LocalSecondaryIndexes=[
            {
                "IndexName": "by_x",
                "KeySchema": [schema[0], schema[2]],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in KEYS],
        BillingMode="PAY_PER_REQUEST",
    )
    client.put_item(TableName="items", Item={name: {"S": name} for name in "psxy"})
    query = {
        "TableName": "items",
        "IndexName": "by_x",
        "KeyConditionExpression": "p = :p",
        "ExpressionAttributeValues": {":p": {"S": "p"}},
    }
    answers = [client.query(**query, Select="ALL_ATTRIBUTES"), client.query(**query, ProjectionExpression="y")]
seen = [sorted(answer["Items"][0]) for answer in answers]
print(*seen, sep="\n")
sys.exit(seen != EXPECTED)
PYTHON
