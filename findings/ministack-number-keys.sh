#!/usr/bin/env bash
# ministack 1.5.33 (imitates AWS), its DynamoDB, called in one process without a port.
#
# It trims the zeroes of a number key when it stores an item and does not when it looks one up: an item is not
# found under the key that it was stored with, and an update makes a second item of the same key. "Data types":
# numbers are equal by value, "leading and trailing zeroes are trimmed", and a key names one item. Seen, after
# PutItem {id: 1.50, name: "a"}, with the right answer to the right:
#
#     GetItem 1.50                     none                a
#     Query id = 1.50                  none                a
#     UpdateItem 1.50, then Scan       1.5 and 1.5         1.5
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ministack==1.5.33 2>/dev/null

"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import asyncio
import json
import sys

from ministack.services import dynamodb

EXPECTED = [[], [], ["1.5", "1.5"]]
ID = {"N": "1.50"}
VALUES = {":id": ID}


def call(operation, **body):
    headers = {"x-amz-target": f"DynamoDB_20120810.{operation}"}
    text = json.dumps({"TableName": "items", **body}).encode()
    _, _, answer = asyncio.run(dynamodb.handle_request("POST", "/", headers, text, {}))
    return json.loads(answer)


call(
    "CreateTable",
    KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
    BillingMode="PAY_PER_REQUEST",
)
call("PutItem", Item={"id": ID, "name": {"S": "a"}})
found = call("GetItem", Key={"id": ID})
queried = call("Query", KeyConditionExpression="id = :id", ExpressionAttributeValues=VALUES)
call("UpdateItem", Key={"id": ID}, UpdateExpression="SET x = :id", ExpressionAttributeValues=VALUES)
seen = [
    [item["name"]["S"] for item in [found.get("Item")] if item],
    [item["name"]["S"] for item in queried["Items"]],
    sorted(item["id"]["N"] for item in call("Scan")["Items"]),
]
print(*seen, sep="\n")
sys.exit(seen != EXPECTED)
PYTHON
