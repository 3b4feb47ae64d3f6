"""Makes keys that encrypt page tokens."""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode


def new_token_key(key_id: str) -> str:
    """Return a random key as an entry of `token_keys`."""
    return f"{key_id}:{urlsafe_b64encode(secrets.token_bytes(32)).decode()}"
