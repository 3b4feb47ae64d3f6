"""Where an issuer's key set is read from: a file, or an HTTP address."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, Protocol

import aiohttp

from dynamodb_processor_server.auth.bearer.key_set import MAX_BYTES, KeySetError
from dynamodb_processor_server.config_files import ConfigDocument
from dynamodb_processor_server.errors import ConfigurationError

_CHUNK: Final = 16 * 1024


class KeySource(Protocol):
    """Reads the present content of a key set."""

    async def read(self) -> bytes:
        """Return the content, at most a little more than `MAX_BYTES`; raise KeySetError."""
        ...


class FileSource:
    """A key set in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> bytes:
        """Return the file's content."""
        try:
            return (await asyncio.to_thread(ConfigDocument.read, self._path)).content
        except ConfigurationError as error:
            raise KeySetError(str(error)) from None


class UrlSource:
    """A key set at an address. Redirects are not followed, so that only this address is trusted."""

    def __init__(self, url: str, timeout: float) -> None:
        """Create a source with seconds for one whole answer."""
        self._url = url
        self._seconds = timeout

    async def read(self) -> bytes:
        """Return the body of the answer."""
        # A connection for each answer: there is one in some minutes.
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        try:
            async with (
                asyncio.timeout(self._seconds),
                aiohttp.ClientSession(headers=headers, auto_decompress=False) as session,
                session.get(self._url, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    raise KeySetError(f"was answered with HTTP status {answer.status}")
                return await _bounded(answer.content)
        except TimeoutError:
            raise KeySetError(f"was not answered within {self._seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise KeySetError(f"cannot be fetched: {reason}") from None


async def _bounded(body: aiohttp.StreamReader) -> bytes:
    content = bytearray()
    async for chunk in body.iter_chunked(_CHUNK):
        content += chunk
        if len(content) > MAX_BYTES:
            break
    return bytes(content)
