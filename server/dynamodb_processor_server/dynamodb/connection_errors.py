"""Translates aiohttp's exceptions to those of botocore, as aiobotocore does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import mask_proxy_url
from yarl import URL

from dynamodb_processor_server.dynamodb.response_parser import CorruptAnswer


@contextmanager
def translated_errors(url: URL, proxy: str | None) -> Iterator[None]:
    """Raise botocore's exceptions for aiohttp's during a request to `url`."""
    try:
        yield
    except CorruptAnswer:
        raise
    except Exception as error:
        raise _translated(error, str(url), proxy) from error


def _translated(error: Exception, url: str, proxy: str | None) -> Any:  # botocore is untyped
    match error:
        case aiohttp.ClientSSLError():
            return SSLError(endpoint_url=url, error=error)
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return ProxyConnectionError(proxy_url=mask_proxy_url(proxy), error=error)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            return ConnectionClosedError(error=error, endpoint_url=url)
        case aiohttp.ServerTimeoutError() if str(error).lower().startswith("connect"):
            return ConnectTimeoutError(endpoint_url=url, error=error)
        case aiohttp.ServerTimeoutError():
            return ReadTimeoutError(endpoint_url=url, error=error)
        case aiohttp.ClientConnectionError():
            return EndpointConnectionError(endpoint_url=url, error=error)
        case TimeoutError():
            return ReadTimeoutError(endpoint_url=url, error=error)
    return HTTPClientError(error=error)
