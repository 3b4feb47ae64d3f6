#!/usr/bin/env bash
# botocore 1.44.8 (the AWS client of Python), its DynamoDB client.
#
# DynamoDB sends the checksum of each answer in x-amz-crc32, and botocore retries an answer that does not fit
# (its _retry.json, "crc32"). When the attempts are used up, the retry mode "legacy" raises ChecksumError;
# "standard" and "adaptive", which the retry guide recommends, return the damaged answer as success. A checksum
# is there to find damage; a client that has found it may not hand the answer on. Seen, with three attempts
# against a server whose checksum never fits:
#
#     legacy      ChecksumError, after 3 requests
#     standard    the item, after 3 requests
#     adaptive    the item, after 3 requests
#
# A service that keeps to the recommended mode can serve, cache or write back a damaged item.
#
# Exits 0 while this is so, and 1 when it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check botocore==1.44.8 2>/dev/null

AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test "$folder/venv/bin/python" - <<'PYTHON'
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from botocore.config import Config
from botocore.session import Session

EXPECTED = {"legacy": ("ChecksumError", 3), "standard": ("red", 3), "adaptive": ("red", 3)}
BODY = b'{"Item": {"colour": {"S": "red"}}}'
requests = []


class Damaged(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        requests.append(self.path)
        self.send_response(200)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(BODY)))
        self.send_header("x-amz-crc32", "1")
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_):
        pass


def answer_in(mode):
    requests.clear()
    client = Session().create_client(
        "dynamodb",
        region_name="eu-central-1",
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        config=Config(retries={"mode": mode, "total_max_attempts": 3}),
    )
    try:
        result = client.get_item(TableName="table", Key={"id": {"S": "1"}})["Item"]["colour"]["S"]
    except Exception as error:
        result = type(error).__name__
    return result, len(requests)


server = HTTPServer(("127.0.0.1", 0), Damaged)
Thread(target=server.serve_forever, daemon=True).start()
seen = {mode: answer_in(mode) for mode in EXPECTED}
for mode, answer in seen.items():
    print(mode.ljust(11), *answer)
sys.exit(seen != EXPECTED)
PYTHON
