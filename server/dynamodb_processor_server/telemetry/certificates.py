"""Metrics and log lines about the expiry of the server's TLS certificates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Final, NoReturn

import structlog
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dynamodb_processor_server.config_files.tls_files import ServerIdentity

_log = structlog.get_logger(__name__)

_NAME: Final = "dynamodb_processor_tls_certificate_expiry_timestamp_seconds"
_CHECK_SECONDS: Final = 60.0
# A certificate is logged this long before it expires, or in the last fifth of a short lifetime:
# usual tools renew one when a third is left.
_WARNING_SECONDS: Final = 14 * 86_400.0
_WARNING_SHARE: Final = 0.2


def expires_soon(lifetime: tuple[float, float], now: float) -> bool:
    """Return whether a certificate should have been renewed.

    Args:
        lifetime: Its first and last moment, in seconds since the epoch.
        now: Seconds since the epoch.
    """
    begins, ends = lifetime
    return now >= ends - min(_WARNING_SECONDS, _WARNING_SHARE * (ends - begins))


def utc_text(seconds: float) -> str:
    """Return a time in seconds since the epoch as text."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


class CertificateExpiry(Collector):
    """Exports when the certificates in force expire, and logs it when that is near."""

    def __init__(
        self,
        registry: CollectorRegistry,
        identity: Callable[[], ServerIdentity],
        now: Callable[[], float] = time.time,
    ) -> None:
        """Register the metric.

        Args:
            registry: Registers the metric.
            identity: Returns the identity in force.
            now: Returns the seconds since the epoch.
        """
        self._identity = identity
        self._now = now
        self._logged: set[tuple[str, float, bool]] = set()
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the expiries; runs in the thread that is scraped."""
        family = GaugeMetricFamily(
            _NAME,
            "Time at which the server's certificate, or the first of its client CAs, expires.",
            labels=("file",),
        )
        for file, (_, ends) in self._identity().lifetimes.items():
            family.add_metric((file,), ends)
        yield family

    async def watch(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> NoReturn:
        """Check every minute until cancelled."""
        while True:
            self.check()
            await sleep(_CHECK_SECONDS)

    def check(self) -> None:
        """Log each certificate once when it is about to expire, and once when it has expired."""
        now = self._now()
        due = {
            (file, lifetime[1], now >= lifetime[1])
            for file, lifetime in self._identity().lifetimes.items()
            if expires_soon(lifetime, now)
        }
        for file, ends, has_expired in sorted(due - self._logged):
            if has_expired:
                _log.error("tls_certificate_expired", setting=f"tls_{file}", expired=utc_text(ends))
            else:
                _log.warning(
                    "tls_certificate_expires", setting=f"tls_{file}", expires=utc_text(ends)
                )
        self._logged = due
