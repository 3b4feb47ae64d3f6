#!/usr/bin/env bash
# moto 5.2.5 (imitates DynamoDB), asked through boto3 1.44.
#
# It keeps the elements of a number set as text: equal numbers stand in a set twice and are not found to be
# deleted. "Data types": all values of a set "must be unique", and of numbers "leading and trailing zeroes are
# trimmed". The set is {1, 2}. Seen, with the right answer (and DynamoDB Local's) to the right:
#
#     ADD {1.0, 3}       1 1.0 2 3      1 2 3
#     DELETE {1.0}       1 2            2
#     Put {1.0, 1}       stored         ValidationException, "Input collection contains duplicates"
#
# A set that counts distinct numbers counts too many, and a deletion is silently none.
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

EXPECTED = ["1 1.0 2 3", "1 2", "1 1.0"]

with mock_aws():
    client = boto3.client("dynamodb")
    client.create_table(
        TableName="items",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )

    def put(*numbers):
        client.put_item(TableName="items", Item={"id": {"S": "a"}, "n": {"NS": numbers}})

    def updated(action, *numbers):
        put("1", "2")
        client.update_item(
            TableName="items",
            Key={"id": {"S": "a"}},
            UpdateExpression=f"{action} n :n",
            ExpressionAttributeValues={":n": {"NS": numbers}},
        )
        return stored()

    def stored():
        item = client.get_item(TableName="items", Key={"id": {"S": "a"}})["Item"]
        return " ".join(sorted(item["n"]["NS"]))

    seen = [updated("ADD", "1.0", "3"), updated("DELETE", "1.0")]
    put("1.0", "1")
    seen.append(stored())
print(*seen, sep="\n")
sys.exit(seen != EXPECTED)
PYTHON
