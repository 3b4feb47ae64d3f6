"""The OpenAPI 3.1 description of the gateway, written to `openapi.json` or compared with it."""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gateway.rules import load_rules
from openapi import errors
from openapi.comments import comment, read_comments
from openapi.examples import load_examples, of_errors
from openapi.operations import bound_fields, paths
from openapi.schemas import Schemas, messages_within

_ROOT: Final = Path(__file__).parents[3]
OPENAPI_FILE: Final = Path(__file__).parents[1] / "openapi.json"
_DESCRIPTION: Final = """\
Reads DynamoDB tables: callers say which items they want, and the service chooses the index, pages,
caches, protects the tables and reports the cost. The gateway translates JSON to gRPC: grants,
limits, cache and errors are the same.

- Messages are [proto3 JSON](https://protobuf.dev/programming-guides/json).
- 64-bit integers are strings. Requests may have numbers as well, up to 2^53 - 1.
- Binary data is base64, enums are names, durations are text (`0.250s`), and times are RFC 3339.
- An attribute value has exactly one field, its DynamoDB type: `{"s": "text"}`, `{"n": "12.50"}`.
- Unknown fields and unknown query parameters are errors.
- Errors are a `google.rpc.Status`: read the `reason` of its `ErrorInfo`.

Examples ask the sample tables of `make gateway`.
"""
_SECURITY_SCHEMES: Final = {
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "An API key, as its operator gave it.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token of an accepted OpenID Connect issuer.",
    },
}


def document() -> dict[str, Any]:
    """Return the whole description."""
    rules, comments, examples = load_rules(), read_comments(), load_examples()
    requests = messages_within(rule.method.input_type for rule in rules)
    schemas = Schemas(comments, bound_fields(rules), requests)
    responses = errors.responses(of_errors(examples))
    operations = paths(rules, schemas, comments, examples, list(responses))
    status = errors.status_schema(schemas)
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    services = dict.fromkeys(rule.method.containing_service for rule in rules)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "DynamoDB Processor",
            "version": project["version"],
            "summary": "Reads DynamoDB tables over HTTP.",
            "description": _DESCRIPTION,
            "license": {"name": project["license"], "identifier": project["license"]},
        },
        "servers": [{"url": "/", "description": "The gateway that serves this document."}],
        "security": [{name: []} for name in _SECURITY_SCHEMES],
        "tags": [
            {"name": service.name, "description": comment(comments, service.full_name)}
            for service in services
        ],
        "paths": operations,
        "components": {
            "securitySchemes": _SECURITY_SCHEMES,
            "schemas": dict(sorted({**schemas.components, "Status": status}.items())),
            "responses": {errors.response_name(code): one for code, one in responses.items()},
        },
    }


def text() -> str:
    """Return the description as the file has it."""
    return f"{json.dumps(document(), indent=2, ensure_ascii=False)}\n"


def main(arguments: Sequence[str]) -> int:
    """Write the file, or compare it; return 0, or 1 if it differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare the file, and write nothing")
    wanted = text()
    if not parser.parse_args(arguments).check:
        OPENAPI_FILE.write_text(wanted, encoding="utf-8")
        return 0
    current = OPENAPI_FILE.read_text(encoding="utf-8") if OPENAPI_FILE.exists() else ""
    if wanted != current:
        sys.stderr.write(f"{OPENAPI_FILE.name}: out of date, run make openapi\n")
    return int(wanted != current)
