#!/usr/bin/env bash
# dynafile 0.1.3 (an embedded database in files, after DynamoDB's model and boto3's API).
#
# Its batch writer keeps, of each partition, the last uninterrupted run of writes and drops the earlier ones
# without an error. BatchWriteItem, which it imitates, performs every request or returns it as unprocessed.
# Seen, for five puts in one batch_writer(), with the keys that are stored afterwards:
#
#     a/1 a/2 b/1          all stored
#     a/1 b/1 a/2          b/1 a/2, and a/1 is lost
#     a/1 b/1 a/2 b/2 a/3  b/2 a/3, and three are lost
#
# A batch sorted by partition is safe; one in order of arrival, the usual case, loses most items.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dynafile==0.1.3 2>/dev/null

"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from pathlib import Path

from dynafile import Dynafile

EXPECTED = {
    "a/1 a/2 b/1": "a/1 a/2 b/1",
    "a/1 b/1 a/2": "a/2 b/1",
    "a/1 b/1 a/2 b/2 a/3": "a/3 b/2",
}


def stored_of(number: int, keys: str) -> str:
    database = Dynafile(Path(sys.argv[1]) / str(number))
    with database.batch_writer() as batch:
        for key in keys.split():
            partition, sort = key.split("/")
            batch.put_item(item={"PK": partition, "SK": sort})
    return " ".join(sorted(f"{item['PK']}/{item['SK']}" for item in database.scan()))


seen = {keys: stored_of(number, keys) for number, keys in enumerate(EXPECTED)}
for keys, stored in seen.items():
    print(keys.ljust(20), stored)
sys.exit(seen != EXPECTED)
PYTHON
