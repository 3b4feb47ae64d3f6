#!/usr/bin/env bash
# moto 5.2.5 (imitates DynamoDB), asked through boto3 1.44.
#
# In its conditions a boolean is the number 0 or 1, and begins_with and contains know no binary values.
# "Comparison operators": values of different types are not equal, and < and > are for numbers, strings and
# binaries; BEGINS_WITH takes "String or Binary", and CONTAINS looks for "a subsequence" of a binary. The item
# has t = true and bin = 01 FE FF. Seen, with the right answer (and DynamoDB Local's) to the right:
#
#     t = 1                      found      not found
#     t <> 1                     not found  found
#     t > 0                      found      not found
#     begins_with(bin, 01)       not found  found
#     contains(bin, FE)          not found  found
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

EXPECTED = {
    "t = :v": ({"N": "1"}, 1),
    "t <> :v": ({"N": "1"}, 0),
    "t > :v": ({"N": "0"}, 1),
    "begins_with(bin, :v)": ({"B": b"\x01"}, 0),
    "contains(bin, :v)": ({"B": b"\xfe"}, 0),
}

with mock_aws():
    client = boto3.client("dynamodb")
    client.create_table(
        TableName="items",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    item = {"id": {"S": "a"}, "t": {"BOOL": True}, "bin": {"B": b"\x01\xfe\xff"}}
    client.put_item(TableName="items", Item=item)
    seen = {}
    for condition, (value, _) in EXPECTED.items():
        answer = client.scan(
            TableName="items", FilterExpression=condition, ExpressionAttributeValues={":v": value}
        )
        seen[condition] = (value, answer["Count"])
for condition, answer in seen.items():
    print(condition.ljust(24), *answer)
sys.exit(seen != EXPECTED)
PYTHON
