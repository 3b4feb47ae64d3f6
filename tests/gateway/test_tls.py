"""TLS towards callers, with certificates that are replaced while it runs, and towards servers."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc
import pytest

from gateway.config import as_yaml
from gateway.listeners import certificate_secret
from tests.gateway.gateways import gateway_before, post
from tests.support.certificates import Certificate, issue, presented_serial
from tests.support.fake_service import FakeService, numbered
from tests.support.ready_fake import ready
from tests.support.running import eventually


def _trusting(authority: Certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.pem.decode())


async def test_callers_use_tls_and_the_certificate_is_replaced(tmp_path: Path) -> None:
    """A new one in the same place is used for new connections; TLS 1.1 is refused."""
    authority = issue(common_name="authority")
    first, second = issue(issuer=authority), issue(issuer=authority)
    source = tmp_path / "certificate.yaml"
    source.write_text(as_yaml(certificate_secret(*first.write(tmp_path))), encoding="utf-8")
    service = FakeService(items=numbered(3))
    tls = _trusting(authority)
    async with (
        ready(service),
        gateway_before(tmp_path, service, tls=tls, certificate_file=source) as gateway,
    ):
        answer = await post(gateway, "/v1/tables/numbers:query")
        assert len(answer.json["items"]) == 3
        assert gateway.url.startswith("https://")
        assert presented_serial(gateway.address) == first.x509.serial_number
        second.write(tmp_path)
        await eventually(lambda: presented_serial(gateway.address) == second.x509.serial_number)
        assert (await post(gateway, "/v1/tables/numbers:query")).status == 200
        gateway.tls = _trusting(authority)
        gateway.tls.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            gateway.tls.minimum_version = ssl.TLSVersion.TLSv1_1
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            gateway.tls.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            await post(gateway, "/v1/tables/numbers:query")


@pytest.mark.parametrize("named", [True, False])
async def test_servers_are_verified(tmp_path: Path, *, named: bool) -> None:
    """A server is called only if an authority has signed its certificate for its name."""
    authority = issue(common_name="authority")
    theirs = issue("db.example.org", issuer=authority)
    file = tmp_path / "authority.pem"
    file.write_bytes(authority.pem)
    credentials = grpc.ssl_server_credentials([(theirs.key, theirs.pem)])
    service = FakeService(items=numbered(3))
    options = {"upstream_ca": file, "upstream_name": "db.example.org" if named else "other.org"}
    async with (
        ready(service, credentials=credentials),
        gateway_before(tmp_path, service, ready=named, **options) as gateway,
    ):
        answer = await post(gateway, "/v1/tables/numbers:query")
        if named:
            assert len(answer.json["items"]) == 3
        else:
            assert answer.refusal == (503, 14, "UPSTREAM_UNAVAILABLE")
