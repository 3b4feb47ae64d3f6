"""URLs of Redis: of one server, of Sentinels and of a cluster, and the files for TLS."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from redis.asyncio.connection import SSLConnection

from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.runtime.redis_url import (
    RedisTls,
    Topology,
    checked_url,
    has_hash_tag,
    parse_redis_url,
)
from tests.support.certificates import issue


def test_a_url_of_one_server_is_that_of_the_client_library() -> None:
    """A password without a user is that of the default user."""
    parsed = parse_redis_url("redis://:hush@there:7000/2")
    assert (parsed.topology, parsed.seeds) == (Topology.ONE_SERVER, ())
    assert parsed.options == {"password": "hush", "host": "there", "port": 7000, "db": 2}
    assert not parsed.has_tls
    named = parse_redis_url("rediss://ddb:hu%40sh@there")
    assert (named.options["username"], named.options["password"]) == ("ddb", "hu@sh")
    assert named.has_tls


def test_a_url_of_sentinels_has_their_addresses_and_a_service() -> None:
    """The user is that of the server; Sentinels have one of their own, or none."""
    parsed = parse_redis_url(
        "rediss+sentinel://ddb:hush@one,two:7000,[::1]:7001/fleet/3"
        "?sentinel_username=watch&sentinel_password=h%20sh&client_name=me"
    )
    assert parsed.topology is Topology.SENTINEL
    assert parsed.seeds == (("one", 26379), ("two", 7000), ("::1", 7001))
    assert parsed.service == "fleet"
    tls = {"connection_class": SSLConnection, "client_name": "me"}
    assert parsed.options == {"username": "ddb", "password": "hush", "db": 3, **tls}
    assert parsed.seed_options == {"username": "watch", "password": "h sh", **tls}
    assert "password" not in parse_redis_url("redis+sentinel://:hush@one/fleet").seed_options


def test_a_url_of_a_cluster_has_some_of_its_nodes() -> None:
    """All nodes have the same user."""
    parsed = parse_redis_url("redis+cluster://ddb:hush@one,two:7000")
    assert parsed.topology is Topology.CLUSTER
    assert parsed.seeds == (("one", 6379), ("two", 7000))
    assert parsed.options == parsed.seed_options == {"username": "ddb", "password": "hush"}


def test_a_connection_to_ask_has_none_of_the_bounds_of_the_others() -> None:
    """A finder has its own bounds. The user, TLS and the protocol are the same."""
    parsed = parse_redis_url(
        "rediss+cluster://:hush@one?max_connections=9&timeout=2&socket_timeout=3&protocol=2"
        "&ssl_min_version=771"
    )
    bounds = {"max_connections": 9, "timeout": 2.0, "socket_timeout": 3.0}
    assert bounds.items() <= parsed.options.items()
    assert parsed.seed_options == {
        "password": "hush",
        "protocol": 2,
        "ssl_min_version": 771,
        "connection_class": SSLConnection,
    }
    sentinel = parse_redis_url("redis+sentinel://one/fleet?protocol=2&socket_timeout=3")
    assert sentinel.seed_options == {"protocol": 2}


@pytest.mark.parametrize("address", ["redis://there", "redis+cluster://there", "unix:///there"])
def test_an_unknown_option_is_refused_without_showing_it(address: str) -> None:
    """It may be a part of a password. Connections would find it when they connect."""
    for option in ("hush=1", "ssl_keyfile=hush", "sentinel_password=hush"):
        with pytest.raises(ValueError, match="an option after `\\?` that redis-py") as refused:
            parse_redis_url(f"{address}?{option}")
        assert "hush" not in str(refused.value)
    assert parse_redis_url(f"{address}?health_check_interval=9").options


@pytest.mark.parametrize(
    "text",
    [
        "",
        "there:6379",
        "http://hush@there",
        "unix+cluster://hush",
        "redis+other://hush@there",
        "redis+sentinel://hush@there",
        "redis+sentinel://hush@there/",
        "redis+sentinel:///hush",
        "redis+sentinel://hush@there:x/fleet",
        "redis+cluster://hush@there/1",
        "redis+cluster://hush@there,",
        "redis+cluster://hush@there?db=x",
        "rediss+cluster://hush@there?ssl_include_verify_flags=x",
    ],
)
def test_other_texts_are_refused_without_showing_them(text: str) -> None:
    """They may have a password."""
    with pytest.raises(ValueError, match=r"^must be redis://") as refused:
        checked_url(text)
    assert "hush" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_cluster_needs_a_prefix_in_braces() -> None:
    """Its scripts could not reach keys on several nodes."""
    with pytest.raises(ValueError, match="redis_prefix in braces"):
        checked_url("redis+cluster://there", "fleet:")
    for url, prefix in (("redis+cluster://there", "{fleet}:"), ("redis://there", "fleet:")):
        assert checked_url(url, prefix) == url
    tagged = {prefix: has_hash_tag(prefix) for prefix in ("a{b}:", "{b", "{}a", "{}{a}", "b}")}
    assert [prefix for prefix, has in tagged.items() if has] == ["a{b}:"]


def test_files_for_tls_become_options_of_the_url(tmp_path: Path) -> None:
    """Only a URL with TLS takes them, of any kind."""
    files = RedisTls(Path("/ca +.pem"), tmp_path / "c.pem", tmp_path / "k.pem")
    for text in ("rediss://a", "rediss+sentinel://a/fleet?db=1", "rediss+cluster://a"):
        parsed = parse_redis_url(checked_url(text, "{p}", files))
        for options in (parsed.options, parsed.seed_options or parsed.options):
            assert options["ssl_ca_certs"] == "/ca +.pem"
            assert options["ssl_certfile"] == str(files.certificate)
            assert options["ssl_keyfile"] == str(files.key)
    assert RedisTls().apply("redis://a") == "redis://a"
    with pytest.raises(ValueError, match="without TLS"):
        files.apply("redis://a")


def test_an_encrypted_key_is_refused(tmp_path: Path) -> None:
    """OpenSSL would ask for its password at the terminal, and wait."""
    issued = issue()
    certificate, key = issued.write(tmp_path)
    key.write_bytes(
        issued.private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hush")
        )
    )
    with pytest.raises(ConfigurationError, match="redis_tls_key: is encrypted"):
        RedisTls(None, certificate, key).check()


def test_files_for_tls_are_checked_at_the_start(tmp_path: Path) -> None:
    """The error names the setting, the file and the reason."""
    certificate, key = issue().write(tmp_path)
    RedisTls(certificate, certificate, key).check()
    text = tmp_path / "text"
    text.write_text("no PEM")
    for files, words in (
        (RedisTls(certificate=certificate), "redis_tls_certificate: needs redis_tls_key"),
        (RedisTls(key=key), "redis_tls_key: needs redis_tls_certificate"),
        (RedisTls(tmp_path / "gone"), f"redis_tls_ca: {tmp_path}/gone: No such file"),
        (RedisTls(text), f"redis_tls_ca: {text}: is not PEM"),
        (RedisTls(None, certificate, text), f"redis_tls_certificate: {certificate}, {text}: is"),
    ):
        with pytest.raises(ConfigurationError) as refused:
            files.check()
        assert str(refused.value).startswith(words)
