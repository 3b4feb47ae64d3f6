"""Frames of HTTP/2 (RFC 9113) and the header block of a gRPC call, written by hand."""

from __future__ import annotations

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Types of frames.
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
# Flags of frames.
ACK, END_STREAM, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
#: The setting that says how many bytes may be sent on a new stream.
INITIAL_WINDOW_SIZE: Final = 4


def call_headers(method: str, key: str = "") -> bytes:
    """Return the header block of a call, with an API key or without."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    if key:
        headers["x-api-key"] = key
    return b"".join(_header(name, value) for name, value in headers.items())


def _header(name: str, value: str) -> bytes:
    """Return a literal header field that is not indexed (RFC 7541, 6.2.2)."""
    return b"\0" + _sized(name) + _sized(value)


def _sized(text: str) -> bytes:
    assert len(text) < 127
    return bytes([len(text)]) + text.encode()


def setting(identifier: int, value: int) -> bytes:
    """Return one entry of a SETTINGS frame."""
    return struct.pack(">HI", identifier, value)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload
