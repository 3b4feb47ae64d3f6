"""AWS sessions whose clients accept only certificates that name the host of the endpoint.

botocore's TLS context does not compare names, because urllib3 does so after the handshake. aiohttp
leaves it to the context. aiobotocore uses botocore's context with aiohttp, and through a proxy it
uses none, with which aiohttp checks nothing.
"""

from __future__ import annotations

import ssl
from typing import Any

import aiobotocore.session
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession


class VerifyingHttpSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore ships no types
    """Verifies certificates and host names, of endpoints behind a proxy and of TLS proxies too."""

    def _get_ssl_context(self) -> ssl.SSLContext:
        context: ssl.SSLContext = super()._get_ssl_context()
        context.check_hostname = True
        return context

    def _setup_proxy_ssl_context(self, proxy_url: str) -> ssl.SSLContext:
        return super()._setup_proxy_ssl_context(proxy_url) or self._get_ssl_context()


class _VerifyingConfig(AioConfig):  # type: ignore[misc]  # as above
    """A configuration that keeps its HTTP session when a client's own one is merged into it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(http_session_cls=VerifyingHttpSession, **options)

    def merge(self, other_config: Any) -> AioConfig:
        """Return a configuration with the options of both; those of the other one take effect."""
        merged = super().merge(other_config)
        merged.http_session_cls = VerifyingHttpSession
        return merged


def verified_session(**options: Any) -> Any:
    """Return a session of aiobotocore; `options` are those of botocore's `Config`.

    They are the defaults of all of its clients, those that its sources of credentials make (STS,
    SSO) among them.
    """
    session = aiobotocore.session.get_session()
    session.set_default_client_config(_VerifyingConfig(**options))
    return session
