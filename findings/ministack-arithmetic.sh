#!/usr/bin/env bash
# ministack 1.5.33 (imitates AWS), its DynamoDB, called in one process without a port.
#
# Arithmetic in updates keeps 28 digits and puts zeroes for the rest. "Data types": numbers have "up to 38 digits
# of precision", and more "results in an exception". Seen, for UpdateItem SET n = n + 1 (ADD does the same), with
# the right answer (and DynamoDB Local's) to the right:
#
#     12345678901234567890123456789012345678     12345678901234567890123456790000000000
#                                                12345678901234567890123456789012345679
#
# A counter or an amount of many digits changes in its tenth digit from the right.
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

EXPECTED = "12345678901234567890123456790000000000"


def call(operation, **body):
    headers = {"x-amz-target": f"DynamoDB_20120810.{operation}"}
    text = json.dumps({"TableName": "items", **body}).encode()
    _, _, answer = asyncio.run(dynamodb.handle_request("POST", "/", headers, text, {}))
    return json.loads(answer)


call(
    "CreateTable",
    KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    BillingMode="PAY_PER_REQUEST",
)
key = {"id": {"S": "a"}}
seen = []
for update in "SET n = n + :one", "ADD n :one":
    call("PutItem", Item={**key, "n": {"N": "12345678901234567890123456789012345678"}})
    call("UpdateItem", Key=key, UpdateExpression=update, ExpressionAttributeValues={":one": {"N": "1"}})
    seen.append(call("GetItem", Key=key)["Item"]["n"]["N"])
print(*seen, sep="\n")
sys.exit(seen != [EXPECTED, EXPECTED])
PYTHON
