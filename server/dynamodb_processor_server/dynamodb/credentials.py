"""AWS credentials: loaded on first use, and loaded again when they have expired.

botocore loads them once, when a client is made; a client for which it found none never gets any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import structlog
from aiobotocore.credentials import (
    AioAssumeRoleCredentialFetcher,
    AioDeferredRefreshableCredentials,
)
from botocore.exceptions import NoCredentialsError

from dynamodb_processor_server.dynamodb.verified_sessions import verified_session

_log = structlog.get_logger(__name__)

_ROLE_SESSION: Final = "dynamodb-processor"
# The time limit for a source of credentials: less than that of an attempt at DynamoDB.
_PATIENCE_SECONDS: Final = 5.0
# STS has a shorter limit too: botocore calls it again before a role's credentials expire. Only
# `Backend` retries failed calls.
_STS_CONFIG: Final[Mapping[str, Any]] = {
    "connect_timeout": 2.0,
    "read_timeout": 3.0,
    "retries": {"mode": "standard", "total_max_attempts": 1},
}
# Between two loads, after credentials were found and after they were not.
_RENEWAL_SECONDS: Final = 5.0
_FAILURE_SECONDS: Final = 1.0


class CredentialsFailed(Exception):
    """No credentials are available at the moment; the cause says why."""


class Credentials:
    """Replaceable credentials with which a client signs, from AWS's usual sources.

    botocore uses this object like its own credentials. A client keeps references to it in more than
    one place, so this object replaces the loaded credentials inside itself.

    Args:
        role_arn: A role to assume with the loaded credentials; None for none.
        region: The region of STS if AWS's usual sources name none.
    """

    def __init__(self, role_arn: str | None = None, region: str | None = None) -> None:
        self._role_arn = role_arn
        self._region = region
        self._wanted = True
        self._found: Any = None
        self._failure: Exception | None = None
        self._next_look = float("-inf")
        self._looking = asyncio.Lock()

    async def get_frozen_credentials(self) -> Any:
        """Return the current key, secret and token.

        Raises CredentialsFailed if there are none.
        """
        if self._wanted:
            await self._find()
        try:
            return await self._found.get_frozen_credentials()
        except Exception as error:
            raise CredentialsFailed from error

    async def get_account_id(self) -> str | None:
        """Return the account ID if it is known: it may be part of DynamoDB's endpoint.

        Raises as `get_frozen_credentials`.
        """
        account_id: str | None = (await self.get_frozen_credentials()).account_id
        return account_id

    def get_deferred_property(self, name: str) -> Any:
        """Return the method with which botocore gets a property."""
        return getattr(self, f"get_{name}")

    def renew(self) -> None:
        """Load credentials again on next use: AWS says that the current ones have expired.

        Many callers may report it; they are loaded once, and not again for some seconds.
        """
        if asyncio.get_running_loop().time() >= self._next_look:
            self._wanted = True

    async def _find(self) -> None:
        async with self._looking:  # one load serves all waiting callers
            if not self._wanted:
                return
            if asyncio.get_running_loop().time() < self._next_look:
                raise CredentialsFailed from self._failure
            await self._look()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                found = await _load(self._role_arn, self._region)
                if found is not None:
                    await found.get_frozen_credentials()  # some sources are read only now
            if found is None and self._found is None:
                raise NoCredentialsError
        except Exception as error:
            self._failure = error
            self._next_look = loop.time() + _FAILURE_SECONDS
            _log.warning("credentials_not_found", role_arn=self._role_arn, reason=repr(error))
            raise CredentialsFailed from error
        # If none were found, botocore may still be able to renew the previous ones.
        self._found = found or self._found
        self._wanted = False
        self._next_look = loop.time() + _RENEWAL_SECONDS


async def _load(role_arn: str | None, region: str | None) -> Any:
    """Return credentials of botocore's, None if none are found."""
    # In a session of its own, because a session caches the files that it has read. It also calls
    # STS, whose responses are XML.
    session = verified_session(**_STS_CONFIG)
    if session.get_config_variable("region") is None:
        session.set_config_variable("region", region)
    own = await session.get_credentials()
    return own if own is None or role_arn is None else _assumed(session, own, role_arn)


def _assumed(session: Any, own: Any, role_arn: str) -> AioDeferredRefreshableCredentials:
    """Return credentials of a role, assumed with a session's own and renewed as they expire."""
    fetcher = AioAssumeRoleCredentialFetcher(
        client_creator=session.create_client,
        source_credentials=own,
        role_arn=role_arn,
        extra_args={"RoleSessionName": _ROLE_SESSION},
    )
    return AioDeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
