"""Tests of the metric and the log lines about certificates that expire."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

import pytest
import structlog
from prometheus_client import CollectorRegistry

from dynamodb_processor_server.config_files.tls_files import ServerIdentity
from dynamodb_processor_server.telemetry.certificates import CertificateExpiry

_DAY: Final = 86_400.0
_METRIC: Final = "dynamodb_processor_tls_certificate_expiry_timestamp_seconds"


@dataclass
class Watched:
    """An identity whose expiry is watched, at a time that the test sets."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    now: float = 0.0
    identity: ServerIdentity = field(
        default_factory=lambda: ServerIdentity(
            b"", b"", None, (), {"certificate": (0.0, 90 * _DAY)}
        )
    )

    def __post_init__(self) -> None:
        self.expiry = CertificateExpiry(self.registry, lambda: self.identity, lambda: self.now)

    def logged(self, days: float) -> list[tuple[str, str]]:
        """Return the events that a check so many days later logs, with their settings."""
        self.now = days * _DAY
        with structlog.testing.capture_logs() as logs:
            self.expiry.check()
        return [(one["event"], one["setting"]) for one in logs]


@pytest.fixture
def watched() -> Watched:
    """An identity with a certificate of 90 days, without client CAs."""
    return Watched()


def test_an_expiry_is_logged_once_before_and_once_after(watched: Watched) -> None:
    """A line a minute for two weeks would hide the others."""
    assert watched.logged(75) == []
    assert watched.logged(76) == [("tls_certificate_expires", "tls_certificate")]
    assert watched.logged(89) == []
    assert watched.logged(90) == [("tls_certificate_expired", "tls_certificate")]
    assert watched.logged(91) == []


def test_a_renewed_certificate_is_watched_anew(watched: Watched) -> None:
    """The old one is forgotten."""
    assert watched.logged(80)
    watched.identity = replace(watched.identity, lifetimes={"certificate": (80 * _DAY, 170 * _DAY)})
    assert watched.logged(81) == []
    assert watched.logged(160) == [("tls_certificate_expires", "tls_certificate")]


def test_short_lived_certificates_are_expected_to_be_renewed_late(watched: Watched) -> None:
    """A certificate of a day that is renewed in time is never logged."""
    watched.identity = replace(
        watched.identity, lifetimes={"certificate": (0.0, _DAY), "client_ca": (0.0, 10 * _DAY)}
    )
    assert watched.logged(0.79) == []
    assert watched.logged(0.81) == [("tls_certificate_expires", "tls_certificate")]
    assert watched.logged(8.5) == [
        ("tls_certificate_expired", "tls_certificate"),
        ("tls_certificate_expires", "tls_client_ca"),
    ]


def test_the_metric_has_the_moment_of_each_file(watched: Watched) -> None:
    """It is read when it is scraped, so it is that of the identity in force."""

    def value(file: str) -> Any:
        return watched.registry.get_sample_value(_METRIC, {"file": file})

    assert (value("certificate"), value("client_ca")) == (90 * _DAY, None)
    watched.identity = replace(watched.identity, lifetimes={"client_ca": (0.0, 5.0)})
    assert (value("certificate"), value("client_ca")) == (None, 5.0)


async def test_it_is_checked_every_minute(watched: Watched) -> None:
    """The first check is made at the start."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        watched.now = 80 * _DAY
        if len(pauses) == 3:
            raise RuntimeError

    with structlog.testing.capture_logs() as logs, pytest.raises(RuntimeError):
        await watched.expiry.watch(sleep)
    assert pauses == [60.0] * 3
    assert len(logs) == 1
