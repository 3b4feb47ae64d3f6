#!/usr/bin/env bash
# aiodynamo 26.4 (a DynamoDB client for asyncio).
#
# Unless it is given another numeric_type, it hands out the keys to go on with as floats, so reads by pages skip
# items and batches miss them, without an error. ExclusiveStartKey: "Use the value that was returned for
# LastEvaluatedKey in the previous operation"; a float cannot hold an identifier of 18 digits. query() goes on with
# the key as it came. Seen, for the sort keys 1455555555555555201 to ...204 in pages of two, against a function in
# place of DynamoDB:
#
#     query                                                  4 items
#     query_single_page, on with last_evaluated_key          2 items, the second page after 1.4555555555555553e+18
#     batch_get, on with unprocessed_keys                    2 items, the others as {n: 1.4555555555555553e+18}
#
# A batch is whole until DynamoDB throttles, so tests do not show it.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiodynamo==26.4 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import json
import sys
from decimal import Decimal

from aiodynamo.client import Client
from aiodynamo.credentials import Key, StaticCredentials
from aiodynamo.expressions import HashKey
from aiodynamo.http.types import Response
from aiodynamo.models import BatchGetRequest
from yarl import URL

NUMBERS = [1455555555555555201, 1455555555555555202, 1455555555555555203, 1455555555555555204]
ITEMS = [{"user": {"S": "a"}, "n": {"N": str(number)}} for number in NUMBERS]
EXPECTED = {"query": 4, "query_single_page": 2, "batch_get": 2}
OF_USER = HashKey("user", "a")


async def answer(request):
    asked = json.loads(request.body)
    operation = answer_batch if "RequestItems" in asked else answer_query
    return Response(200, json.dumps(operation(asked)).encode())


def answer_query(asked):
    start = Decimal(asked.get("ExclusiveStartKey", {}).get("n", {}).get("N", 0))
    page = [item for item in ITEMS if Decimal(item["n"]["N"]) > start][:2]
    more = {"LastEvaluatedKey": page[-1]} if page and page[-1] != ITEMS[-1] else {}
    return {"Items": page, "Count": len(page), **more}


def answer_batch(asked):
    found = [item for item in ITEMS if item in asked["RequestItems"]["events"]["Keys"]]
    unprocessed = {"events": {"Keys": found[2:]}} if found[2:] else {}
    return {"Responses": {"events": found[:2]}, "UnprocessedKeys": unprocessed}


async def read_pages(client):
    page = await client.query_single_page("events", OF_USER)
    items = page.items
    while page.last_evaluated_key:
        print("on with", page.last_evaluated_key)
        page = await client.query_single_page("events", OF_USER, start_key=page.last_evaluated_key)
        items = items + page.items
    return len(items)


async def read_batch(client):
    keys, items = {"events": [{"user": "a", "n": number} for number in NUMBERS]}, 0
    while keys:
        found = await client.batch_get({table: BatchGetRequest(asked) for table, asked in keys.items()})
        items, keys = items + len(found.items["events"]), found.unprocessed_keys
        print("unprocessed", keys)
    return items


async def main():
    client = Client(answer, StaticCredentials(Key("test", "test")), "local", URL("http://dynamodb"))
    seen = {
        "query": len([item async for item in client.query("events", OF_USER)]),
        "query_single_page": await read_pages(client),
        "batch_get": await read_batch(client),
    }
    print(seen)
    sys.exit(seen != EXPECTED)


asyncio.run(main())
PYTHON
