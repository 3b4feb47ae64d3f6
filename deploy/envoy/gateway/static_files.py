"""Static files for browsers, which Envoy answers itself: no further web server is needed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.errors import JSON, REFUSALS, headers
from gateway.options import OptionError

#: Envoy refuses larger files in a direct response; its own default is 4 KiB.
MAX_FILE_BYTES: Final = 4 * 1_048_576
_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": JSON,
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_INDEX: Final = "index.html"
_DISABLED: Final[Mapping[str, Any]] = {
    "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
    "disabled": True,
}
# Filters of the API's listener, which would refuse a path that is no route of the API.
_API_FILTERS: Final = ("envoy.filters.http.lua", "envoy.filters.http.grpc_json_transcoder")


def static_routes(folder: Path, connect: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Yield the routes of a folder's files: their paths below it are their paths in URLs.

    `index.html` answers for its folder as well. Browsers keep a file, and ask each time whether it
    has changed: its ETag is its digest.

    Args:
        folder: The files.
        connect: The origins that pages may call, beside their own.

    Raises:
        OptionError: a file is too large or of an unknown type, or there is none.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if not files:
        raise OptionError(f"{folder}: has no files")
    policy = _content_security_policy(connect)
    for file in files:
        path = f"/{file.relative_to(folder).as_posix()}"
        yield from _file_routes(file, path, policy)
        if file.name == _INDEX:
            parent = path.removesuffix(_INDEX)
            yield from _file_routes(file, parent, policy)
            if parent != "/":
                yield _route(parent.removesuffix("/"), {"status": 308}, {"location": parent})


def static_virtual_host(folder: Path, connect: Sequence[str]) -> dict[str, Any]:
    """Return the virtual host of a listener that serves a folder, and nothing else."""
    missing = REFUSALS["ROUTE_NOT_FOUND"]
    refusal = {"status": missing.http, "body": {"inline_string": json.dumps(missing.body)}}
    sent = {"content-type": JSON, "x-content-type-options": "nosniff"}
    rest = {"match": {"prefix": "/"}, "direct_response": refusal}
    return {
        "name": "static",
        "domains": ["*"],
        "routes": [
            *static_routes(folder, connect),
            {**rest, "response_headers_to_add": list(headers(sent))},
        ],
    }


def _content_security_policy(connect: Sequence[str]) -> str:
    """Return the policy of the pages: they load nothing from elsewhere, and no page frames them.

    The directives are those of https://www.w3.org/TR/CSP3/.
    """
    allowed = " ".join(["'self'", *connect])
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"font-src 'self'; connect-src {allowed}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _file_routes(file: Path, path: str, policy: str) -> Iterator[dict[str, Any]]:
    """Yield a route that answers an unchanged file with 304, and one that answers with the file."""
    content = file.read_bytes()
    kind = _TYPES.get(file.suffix)
    if kind is None:
        raise OptionError(f"{file}: has no type that the gateway knows ({', '.join(_TYPES)})")
    if len(content) > MAX_FILE_BYTES:
        raise OptionError(f"{file}: has {len(content)} bytes, more than {MAX_FILE_BYTES}")
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    sent = {
        "cache-control": "no-cache",
        "content-security-policy": policy,
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "etag": etag,
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    unchanged = {"name": "if-none-match", "string_match": {"exact": etag}}
    yield _route(path, {"status": 304}, sent, unchanged)
    # Envoy takes an empty file name for no body.
    body = {"body": {"filename": str(file.resolve())}} if content else {}
    yield _route(path, {"status": 200, **body}, {**sent, "content-type": kind})


def _route(
    path: str, answer: dict[str, Any], sent: Mapping[str, str], *conditions: dict[str, Any]
) -> dict[str, Any]:
    reads = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}
    return {
        "match": {"path": path, "headers": [reads, *conditions]},
        "direct_response": answer,
        "response_headers_to_add": list(headers(sent)),
        "typed_per_filter_config": {name: dict(_DISABLED) for name in _API_FILTERS},
    }
