#!/usr/bin/env bash
# moto 5.2.5 (imitates DynamoDB), asked through boto3 1.44.
#
# A projection of two list elements returns one, and TransactGetItems ignores its projection. "Projection
# expressions" takes elements such as ProductReviews.FiveStar[0] beside others; TransactGetItems, "Get": its
# ProjectionExpression "identifies one or more attributes ... to retrieve". The item has l = [x, 1, true]. Seen,
# with the right answer to the right:
#
#     GetItem l[0], l[2]            [true]                 [x, true]
#     GetItem l[2], l[0]            [x]                    [x, true]
#     TransactGetItems id           id and l               id
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

EXPECTED = [["BOOL"], ["S"], ["id", "l"]]

with mock_aws():
    client = boto3.client("dynamodb")
    client.create_table(
        TableName="items",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    item = {"id": {"S": "a"}, "l": {"L": [{"S": "x"}, {"N": "1"}, {"BOOL": True}]}}
    client.put_item(TableName="items", Item=item)
    get = {"TableName": "items", "Key": {"id": {"S": "a"}}}
    seen = []
    for projection in "l[0], l[2]", "l[2], l[0]":
        answer = client.get_item(**get, ProjectionExpression=projection)["Item"]
        seen.append([kind for element in answer["l"]["L"] for kind in element])
    answer = client.transact_get_items(TransactItems=[{"Get": {**get, "ProjectionExpression": "id"}}])
    seen.append(sorted(answer["Responses"][0]["Item"]))
print(*seen, sep="\n")
sys.exit(seen != EXPECTED)
PYTHON
