"""Issuers of bearer tokens for tests, their key sets, and their identity file."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from tests.support.running import Key

ISSUER: Final = "https://login.example.com/"
AUDIENCE: Final = "dynamodb-processor"


@dataclass(frozen=True)
class SigningKey:
    """A private key of an issuer."""

    key_id: str = "k1"
    algorithm: str = "ES256"
    key: ECKey | RSAKey = field(default_factory=lambda: ECKey.generate_key("P-256"))

    @property
    def public(self) -> dict[str, Any]:
        """The public key as an entry of a key set."""
        return {**self.key.as_dict(private=False), "kid": self.key_id, "use": "sig"}

    def sign(self, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """Return a token that is valid for an hour, except where `header` or `claims` differ.

        A claim or a header that is None is left out.
        """
        now = int(time.time())
        default = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 3_600}
        full = {"alg": self.algorithm, "kid": self.key_id, **(header or {})}
        return jwt.encode(_without_none(full), _without_none(default | claims), self.key,
                          algorithms=[self.algorithm])  # fmt: skip


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Token(Key):
    """A bearer token in the place of an API key."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of a call with this token."""
        return (("authorization", f"Bearer {self.text}"),)


def key_set(*keys: SigningKey) -> bytes:
    """Return the key set of an issuer with these keys."""
    return json.dumps({"keys": [key.public for key in keys]}).encode()


def write_identity(file: Path, roles: Mapping[str, Any], /, **issuer: Any) -> None:
    """Write an identity file of one issuer atomically."""
    draft = file.with_suffix(".draft")
    draft.write_text(yaml.safe_dump(identity(roles, **issuer), sort_keys=False), "utf-8")
    draft.replace(file)


def identity(roles: Mapping[str, Any], /, **issuer: Any) -> dict[str, Any]:
    """Return the content of an identity file of one issuer, whose fields `issuer` replaces."""
    default = {"id": "idp", "issuer": ISSUER, "audience": AUDIENCE, "algorithms": ["ES256"]}
    return {"roles": dict(roles), "issuers": [default | issuer]}
