"""API keys for tests, and their keys file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, for its holder and for the keys file. `expires` is an RFC 3339 time."""

    principal: str
    tables: tuple[str, ...] = ("*",)
    roles: tuple[str, ...] = ("reader",)
    expires: str | None = None

    @property
    def text(self) -> str:
        """The key itself: always the same one for the same holder."""
        secret = hashlib.sha256(f"{self!r}".encode()).digest()
        return "ddbp_" + base64.urlsafe_b64encode(secret).decode().rstrip("=")

    @property
    def entry(self) -> dict[str, Any]:
        """The key's entry in the keys file."""
        entry = {
            "id": f"{self.principal}-1",
            "principal": self.principal,
            "digest": "sha256:" + hashlib.sha256(self.text.encode()).hexdigest(),
            "roles": list(self.roles),
            "tables": list(self.tables),
        }
        return entry if self.expires is None else entry | {"expires": self.expires}


def keys_file(*keys: ApiKey) -> dict[str, Any]:
    """Return the contents of the keys file with these keys."""
    return {"keys": [key.entry for key in keys]}


def token_keys(*ids: str) -> str:
    """Return the setting of token keys with these ids, the same for the same ids."""
    secrets: Sequence[bytes] = [
        hashlib.sha256(f"token key {each}".encode()).digest() for each in ids
    ]
    return ",".join(
        f"{each}:{base64.urlsafe_b64encode(secret).decode().rstrip('=')}"
        for each, secret in zip(ids, secrets, strict=True)
    )
