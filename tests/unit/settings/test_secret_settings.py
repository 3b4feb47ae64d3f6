"""Token keys and the URL of Redis: their forms, their absence, and their secrecy."""

from __future__ import annotations

import base64
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dynamodb_processor_server.cache.redis.store import RedisStore
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.setting_types import token_key_ring
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.wiring.secrets import open_secrets
from tests.unit.settings.setting_cases import PREFIX, SECRET, SECRETS, by_flags, error_for


def given(**settings: Any) -> Settings:
    """Return settings with these secrets, each as text."""
    plain: dict[str, Any] = {
        name: SecretStr(value) if name in SECRETS else value for name, value in settings.items()
    }
    return Settings(catalog=Path("c"), keys=Path("k"), **plain)


def test_token_keys_are_read_in_their_order() -> None:
    """Keys are read with or without the padding of base64, and with the time of their use."""
    zero = base64.urlsafe_b64encode(bytes(32)).decode()
    one, two, three = token_key_ring(
        f"new:{SECRET}=@2027-01-01T12:00:00+01:00, old:{zero},older:{SECRET}@2026-01-01T00:00:00Z"
    )
    assert (one.key_id, one.secret) == ("new", bytes(range(32)))
    assert (two.key_id, two.secret, two.encrypts_from) == ("old", bytes(32), -inf)
    assert one.encrypts_from == datetime(2027, 1, 1, 11, tzinfo=UTC).timestamp()
    assert three.encrypts_from == datetime(2026, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("name", ["token_keys", "redis_url"])
@pytest.mark.parametrize(
    ("first", "second"), [("", "_file"), ("", "_secret"), ("_file", "_secret")]
)
def test_a_secret_has_one_source(name: str, first: str, second: str) -> None:
    """Two sources might have two values, and the one that is not used would be changed in vain."""
    settings = given(**{f"{name}{first}": "a", f"{name}{second}": "b"})
    with pytest.raises(ConfigurationError, match=f"^{name}{second}: contradicts {name}{first}; "):
        settings.check_secrets()


def test_the_keys_file_has_one_source() -> None:
    """The file and the secret exclude each other, and one of them is required."""
    both = error_for(keys_secret="ddb/keys", keys="k.yaml")
    assert both.startswith("keys: contradicts keys_secret; give one of the two")
    assert by_flags(keys_secret="ddb/keys", keys="").keys is None  # the image names a file
    assert by_flags(keys="k.yaml", keys_secret="").keys_secret is None


@pytest.mark.parametrize("source", ["redis_url", "redis_url_file", "redis_url_secret"])
def test_a_shared_cache_needs_token_keys_that_others_have(source: str) -> None:
    """With keys of its own, a process could not decrypt the pages of others."""
    with pytest.raises(ConfigurationError, match="redis_url: needs token_keys"):
        given(**{source: "redis"}).check_secrets()
    given(**{source: "redis"}, token_keys_secret="keys").check_secrets()


def test_shared_limits_need_somewhere_to_be_counted() -> None:
    """Only shared limits need Redis; by default each replica counts for itself."""
    by_flags().check_secrets()
    with pytest.raises(ConfigurationError, match="rate_limit_store: redis needs redis_url"):
        by_flags(rate_limit_store="redis").check_secrets()
    given(rate_limit_store="redis", redis_url="redis://x", token_keys="a").check_secrets()


@pytest.mark.parametrize(
    "url", ["localhost", "http://:hush@localhost", "redis://:hush@localhost:x"]
)
def test_an_invalid_redis_url_is_refused_without_showing_it(url: str) -> None:
    """A Redis URL may contain a password, so the error does not show it."""
    with pytest.raises(ConfigurationError, match=r"^redis_url: must be redis:") as refused:
        RedisStore(url, 0.1, "p:", 10.0)
    assert "hush" not in str(refused.value)


async def test_without_token_keys_a_process_has_its_own() -> None:
    """The keys are new each time, so that tokens do not outlive the process by accident."""
    async with AsyncExitStack() as stack:
        rings = [(await open_secrets(by_flags(), stack)).token_keys.current for _ in range(2)]
    (one,), (other,) = rings
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
        (f"a:{SECRET}@", "key 1 has no time such as 2027-01-01T12:00:00Z behind its `@`"),
        (f"a:{SECRET},b:{SECRET}@2027-01-01T12:00:00", "key 2 has no time such as"),
        (f"a:{SECRET}@noon", "key 1 has no time such as"),
        (f"a:{SECRET}@2027-01-01T12:00:00Z@", "key 1 has no time such as"),
    ],
)
def test_bad_token_keys_are_refused_without_showing_them(text: str, words: str) -> None:
    """The error names the entry by its number."""
    with pytest.raises(ValueError, match="key") as caught:
        token_key_ring(text)
    shown = str(caught.value)
    assert words in shown
    assert SECRET[:10] not in shown


def test_secrets_do_not_show_in_errors_or_in_print(environment: pytest.MonkeyPatch) -> None:
    """Secrets are masked wherever settings are printed."""
    environment.setenv(f"{PREFIX}TOKEN_KEYS", f"a:{SECRET}")
    settings = by_flags()
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.model_dump())
    assert SECRET not in error_for(listen="here")
