"""Settings for secrets: each comes from a variable, a file, or AWS Secrets Manager."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, Field, SecretStr

from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.setting_types import OptionalPath, OptionalSecretName, Seconds

SecretName = Literal["token_keys", "redis_url"]
_NAMES: Final[tuple[SecretName, ...]] = ("token_keys", "redis_url")


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret comes from.

    Attributes:
        setting: The setting that says so, for errors.
        given: The secret itself, the path of a file, or a name or an ARN in AWS Secrets Manager.
    """

    setting: str
    given: SecretStr | Path | str


class SecretSettings(BaseModel):
    """The secrets of the server; of the settings for one secret, one at most is given."""

    token_keys: SecretStr | None = Field(
        None,
        description="Keys that encrypt page tokens, `id:key` with 32 bytes in base64url, separated "
        "by commas. The first encrypts, all decrypt. A key with `@` and a time, such as "
        "`id:key@2027-01-01T12:00:00Z`, encrypts from that time on; until then the next one does. "
        "Absent: a random key of this process.",
    )
    token_keys_file: OptionalPath = Field(
        None, description="Path of a file that has `token_keys`; it is read again when it changes."
    )
    token_keys_secret: OptionalSecretName = Field(
        None,
        description="Name or ARN of a secret in AWS Secrets Manager that has `token_keys`; a new "
        "version is noticed within `secret_interval`.",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="URL of the Redis or Valkey through which replicas share pages and "
        "invalidations: `redis://` for one server, `redis+sentinel://` for Sentinels, "
        "`redis+cluster://` for a cluster; with `rediss` for TLS. It needs `token_keys`, the same "
        "on all replicas.",
    )
    redis_url_file: OptionalPath = Field(
        None, description="Path of a file that has `redis_url`; it is read again when it changes."
    )
    redis_url_secret: OptionalSecretName = Field(
        None,
        description="Name or ARN of a secret in AWS Secrets Manager that has `redis_url`; a new "
        "version is noticed within `secret_interval`.",
    )
    secret_interval: Seconds = Field(
        60.0,
        description="Seconds between two reads of each secret in AWS Secrets Manager, which "
        "charges for reads.",
    )
    secret_timeout: Seconds = Field(
        5.0, description="Timeout in seconds for one read of a secret in AWS Secrets Manager."
    )

    def secret_source(self, name: SecretName) -> SecretSource | None:
        """Return where a secret comes from, None if no setting says so.

        Raises ConfigurationError if two settings do.
        """
        settings = (name, f"{name}_file", f"{name}_secret")
        sources = [
            SecretSource(setting, given)
            for setting in settings
            if (given := getattr(self, setting)) is not None
        ]
        if len(sources) > 1:
            first, second, *_ = (source.setting for source in sources)
            raise ConfigurationError(f"{second}: contradicts {first}; give one of the two")
        return sources[0] if sources else None

    @property
    def has_redis(self) -> bool:
        """Whether replicas share pages through Redis."""
        return self.secret_source("redis_url") is not None

    @property
    def has_token_keys(self) -> bool:
        """Whether the token keys are those of all replicas, not of this process."""
        return self.secret_source("token_keys") is not None

    def check_secrets(self) -> None:
        """Raise ConfigurationError if a secret has two sources, or lacks another one."""
        for name in _NAMES:
            self.secret_source(name)
        if self.has_redis and not self.has_token_keys:
            raise ConfigurationError("redis_url: needs token_keys, the same for all replicas")
