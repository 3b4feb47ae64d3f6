"""Token keys and the URL of Redis: their forms, their absence, and their secrecy."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from pydantic import SecretStr

from dynamodb_processor_server.cache.redis.store import RedisStore
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.settings import Settings
from tests.unit.settings.setting_cases import PREFIX, SECRET, by_flags, error_for


def key_error_for(text: str) -> str:
    """Return the error for refused token keys."""
    settings = Settings(catalog=Path("c"), keys=Path("k"), token_keys=SecretStr(text))
    with pytest.raises(ConfigurationError) as caught:
        settings.token_key_ring()
    return str(caught.value)


def test_token_keys_are_read_newest_first() -> None:
    """Keys are read with or without the padding of base64."""
    text = f"new:{SECRET}=, old:{base64.urlsafe_b64encode(bytes(32)).decode()}"
    ring = Settings(catalog=Path("c"), keys=Path("k"), token_keys=SecretStr(text)).token_key_ring()
    assert [(key.key_id, key.secret) for key in ring] == [
        ("new", bytes(range(32))),
        ("old", bytes(32)),
    ]


def test_a_shared_cache_needs_token_keys_that_others_have() -> None:
    """With keys of its own, a process could not decrypt the pages of others."""
    with pytest.raises(ConfigurationError, match="redis_url: needs token_keys"):
        by_flags().shared_cache_keys()


def test_shared_limits_need_somewhere_to_be_counted() -> None:
    """Only shared limits need Redis; by default each replica counts for itself."""
    assert by_flags().shared_limits_url() is None
    with pytest.raises(ConfigurationError, match="rate_limit_store: redis needs redis_url"):
        by_flags(rate_limit_store="redis").shared_limits_url()
    settings = Settings(
        catalog=Path("c"),
        keys=Path("k"),
        rate_limit_store="redis",
        redis_url=SecretStr("redis://x"),
    )
    assert settings.shared_limits_url() == "redis://x"


@pytest.mark.parametrize(
    "url", ["localhost", "http://:hush@localhost", "redis://:hush@localhost:x"]
)
def test_an_invalid_redis_url_is_refused_without_showing_it(url: str) -> None:
    """A Redis URL may contain a password, so the error does not show it."""
    with pytest.raises(ConfigurationError, match=r"^redis_url: must be redis:") as refused:
        RedisStore(url, 0.1, "p:", 10.0)
    assert "hush" not in str(refused.value)


def test_without_token_keys_a_process_has_its_own() -> None:
    """The keys are new each time, so that tokens do not outlive the process by accident."""
    settings = by_flags()
    (one,), (other,) = settings.token_key_ring(), settings.token_key_ring()
    assert len(one.secret) == 32
    assert one.secret != other.secret


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "key 1 is not `id:key`"),
        (SECRET, "key 1 is not `id:key`"),
        (f":{SECRET}", "key 1 is not `id:key`"),
        (f"{'i' * 33}:{SECRET}", "key 1 is not `id:key`"),
        (f"a:{SECRET},b", "key 2 is not `id:key`"),
        (f"a:{SECRET},", "key 2 is not `id:key`"),
        (f"a:{SECRET[:-2]}", "key 1 is not 32 bytes in base64url"),
        ("a:" + "A" * 44, "key 1 is not 32 bytes in base64url"),
        (f"a:{SECRET[:-1]}!", "key 1 is not 32 bytes in base64url"),
        (f"a:{SECRET[:-1]}ö", "key 1 is not 32 bytes in base64url"),
        (f"a:{SECRET[:-1]} ", "key 1 is not 32 bytes in base64url"),
        (f"a:{SECRET},a:{SECRET}", "two keys have the same id"),
    ],
)
def test_bad_token_keys_are_refused_without_showing_them(text: str, words: str) -> None:
    """The error names the entry by its number."""
    shown = key_error_for(text)
    assert shown.startswith("token_keys: ")
    assert words in shown
    assert SECRET[:10] not in shown


def test_secrets_do_not_show_in_errors_or_in_print(environment: pytest.MonkeyPatch) -> None:
    """Secrets are masked wherever settings are printed."""
    environment.setenv(f"{PREFIX}TOKEN_KEYS", f"a:{SECRET}")
    settings = by_flags()
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.model_dump())
    assert SECRET not in error_for(listen="here")
