#!/usr/bin/env bash
# moto 5.2.5 (imitates DynamoDB) with py-partiql-parser 0.6.3, asked through boto3 1.44.
#
# PartiQL conditions that it does not understand find the wrong items, without an error. "PartiQL for DynamoDB",
# "Operators", lists =, <>, BETWEEN, IN and NOT, and "Update statements" REMOVE of a nested attribute. The table
# has the items a (n 1), b (n 5) and c (n 9). Seen, with the right answer to the right:
#
#     n = 5                     none     b
#     id <> ? [a]               a        b c
#     NOT id = ? [a]            none     b c
#     id IN [?, ?] [b, a]       b        a b
#     n BETWEEN ? AND ? [2, 9]  none     b c
#     REMOVE m.k WHERE id = ?   success, and m.k is still there
#
# "Not equal" answers as "equal" does, so a test of an exclusion passes for the opposite reason.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    'moto[dynamodb]==5.2.5' py-partiql-parser==0.6.3 boto3==1.44.8 2>/dev/null

AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=eu-central-1 \
    "$folder/venv/bin/python" - <<'PYTHON'
import sys

import boto3
from moto import mock_aws

A, B, TWO, NINE = {"S": "a"}, {"S": "b"}, {"N": "2"}, {"N": "9"}
CASES = [
    ("n = 5", []),
    ("id <> ?", [A]),
    ("NOT id = ?", [A]),
    ("id IN [?, ?]", [B, A]),
    ("n BETWEEN ? AND ?", [TWO, NINE]),
]
EXPECTED = ["", "a", "", "b", "", {"M": {"k": {"S": "v"}}}]

with mock_aws():
    client = boto3.client("dynamodb")
    client.create_table(
        TableName="items",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for key, number in ("a", "1"), ("b", "5"), ("c", "9"):
        client.put_item(TableName="items", Item={"id": {"S": key}, "n": {"N": number}})
    seen = []
    for condition, values in CASES:
        statement = f'SELECT id FROM "items" WHERE {condition}'
        found = client.execute_statement(Statement=statement, **({"Parameters": values} if values else {}))
        seen.append(" ".join(sorted(item["id"]["S"] for item in found["Items"])))
    client.put_item(TableName="items", Item={"id": A, "m": {"M": {"k": {"S": "v"}}}})
    client.execute_statement(Statement='UPDATE "items" REMOVE m.k WHERE id = ?', Parameters=[A])
    seen.append(client.get_item(TableName="items", Key={"id": A})["Item"]["m"])
for line in zip([condition for condition, _ in CASES] + ["REMOVE m.k"], seen):
    print(*line, sep="   ")
sys.exit(seen != EXPECTED)
PYTHON
