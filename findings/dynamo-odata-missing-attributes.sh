#!/usr/bin/env bash
# dynamo-odata 1.0.0 (OData filters for DynamoDB).
#
# What DynamoDB cannot evaluate, such as tolower, it evaluates in Python with all that "or" joins to it, and there
# "ne" is false of an attribute that an item does not have. DynamoDB sends such items: <> is true of them, as NOT
# and = are (DynamoDB Local 3.3.1 agrees). So a filter that asks for more finds less. Seen, for the items open
# {status: open}, closed {status: closed} and new {}, with the items that the filter is true of to the right:
#
#     status ne 'closed'                                             sent, "#n0 <> :v0"     open new
#     status ne 'closed' or tolower(name) eq 'zoe'                   open                   open new
#     not (status eq 'closed') or tolower(name) eq 'zoe'             open new               open new
#
# An "or" that is added for a search by name hides the items that have no status yet.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dynamo-odata==1.0.0 boto3==1.44.8 2>/dev/null

"$folder/venv/bin/python" - <<'PYTHON'
import sys

from boto3.dynamodb.conditions import ConditionExpressionBuilder
from dynamo_odata.dynamo_filter import build_filter_plan

ITEMS = [{"id": "open", "status": "open"}, {"id": "closed", "status": "closed"}, {"id": "new"}]
EXPECTED = {
    "status ne 'closed'": ("#n0 <> :v0", []),
    "status ne 'closed' or tolower(name) eq 'zoe'": (None, ["open"]),
    "not (status eq 'closed') or tolower(name) eq 'zoe'": (None, ["open", "new"]),
}


def run(text):
    plan = build_filter_plan(text)
    if plan.condition is not None:
        return ConditionExpressionBuilder().build_expression(plan.condition).condition_expression, []
    return None, [item["id"] for item in plan.apply(ITEMS)]


seen = {text: run(text) for text in EXPECTED}
for text, (condition, found) in seen.items():
    print(text.ljust(52), condition or " ".join(found))
sys.exit(seen != EXPECTED)
PYTHON
