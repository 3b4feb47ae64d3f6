#!/usr/bin/env bash
# moto 5.2.5 (imitates DynamoDB), asked through boto3 1.44.
#
# Elements that one SET puts past a list's end are appended as the statement names them. "Update expressions",
# "Adding elements to a list": "if you add multiple elements in a single SET operation, the elements are sorted
# in order by element number". Seen, for the list [0], with the right answer to the right:
#
#     SET l[7] = 8, l[10] = 9      0 8 9      0 8 9
#     SET l[10] = 9, l[7] = 8      0 9 8      0 8 9
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

EXPECTED = {"SET l[7] = :8, l[10] = :9": "0 8 9", "SET l[10] = :9, l[7] = :8": "0 9 8"}

with mock_aws():
    client = boto3.client("dynamodb")
    client.create_table(
        TableName="items",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    seen = {}
    for update in EXPECTED:
        client.put_item(TableName="items", Item={"id": {"S": "a"}, "l": {"L": [{"N": "0"}]}})
        answer = client.update_item(
            TableName="items",
            Key={"id": {"S": "a"}},
            UpdateExpression=update,
            ExpressionAttributeValues={":8": {"N": "8"}, ":9": {"N": "9"}},
            ReturnValues="ALL_NEW",
        )
        seen[update] = " ".join(element["N"] for element in answer["Attributes"]["l"]["L"])
for update, elements in seen.items():
    print(update, elements, sep="   ")
sys.exit(seen != EXPECTED)
PYTHON
