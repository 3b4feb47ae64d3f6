"""Credentials of AWS: looked for when they are first needed, and anew when they have expired.

botocore looks once, when a client is made, and a client for which it found none never has any.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiobotocore.session
import structlog
from aiobotocore.credentials import (
    AioAssumeRoleCredentialFetcher,
    AioDeferredRefreshableCredentials,
)
from botocore.config import Config
from botocore.exceptions import NoCredentialsError

_log = structlog.get_logger(__name__)

_ROLE_SESSION: Final = "dynamodb-processor"
# For where credentials come from to answer: less than an attempt at DynamoDB has.
_PATIENCE_SECONDS: Final = 5.0
# So has STS, which botocore asks again when a role's credentials are about to expire. What fails is
# asked for again by `Backend` alone.
_STS_CONFIG: Final = Config(
    connect_timeout=2.0, read_timeout=3.0, retries={"mode": "standard", "total_max_attempts": 1}
)
# Between looking twice, after credentials were found and after they were not.
_RENEWAL_SECONDS: Final = 5.0
_FAILURE_SECONDS: Final = 1.0


class CredentialsFailed(Exception):
    """There are no credentials at the moment; the cause says why."""


class Credentials:
    """What a client signs with as long as it lives: credentials from AWS's usual sources.

    botocore takes it for credentials of its own. Clients hold on to these in more than one place,
    so what was found is exchanged in here.

    Args:
        role_arn: A role that is taken on with what is found; None for none.
        region: Where STS is asked if AWS's usual sources name no region.
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
        """Return key, secret and token as they are now.

        Raises CredentialsFailed if there are none.
        """
        if self._wanted:
            await self._find()
        try:
            return await self._found.get_frozen_credentials()
        except Exception as error:
            raise CredentialsFailed from error

    async def get_account_id(self) -> str | None:
        """Return the account if it is known: it may be part of DynamoDB's address.

        Raises as `get_frozen_credentials`.
        """
        account_id: str | None = (await self.get_frozen_credentials()).account_id
        return account_id

    def get_deferred_property(self, name: str) -> Any:
        """Return how botocore asks for a property."""
        return getattr(self, f"get_{name}")

    def renew(self) -> None:
        """Look for others when they are needed next: those that were found are said to be expired.

        However many say so, one looks, and not again for a while.
        """
        if asyncio.get_running_loop().time() >= self._next_look:
            self._wanted = True

    async def _find(self) -> None:
        async with self._looking:  # one looks for all who wait
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
                    await found.get_frozen_credentials()  # some are asked for only now
            if found is None and self._found is None:
                raise NoCredentialsError
        except Exception as error:
            self._failure = error
            self._next_look = loop.time() + _FAILURE_SECONDS
            _log.warning("credentials_not_found", role_arn=self._role_arn, reason=repr(error))
            raise CredentialsFailed from error
        # Where there are none now, botocore may still be able to renew those that there were.
        self._found = found or self._found
        self._wanted = False
        self._next_look = loop.time() + _RENEWAL_SECONDS


async def _load(role_arn: str | None, region: str | None) -> Any:
    """Return credentials of botocore's, None where there are none."""
    # A session of its own: what a session has read of files and found in them, it keeps. STS, which
    # answers in XML, is asked in it as well.
    session = aiobotocore.session.get_session()
    session.set_default_client_config(_STS_CONFIG)
    if session.get_config_variable("region") is None:
        session.set_config_variable("region", region)
    own = await session.get_credentials()
    return own if own is None or role_arn is None else _assumed(session, own, role_arn)


def _assumed(session: Any, own: Any, role_arn: str) -> AioDeferredRefreshableCredentials:
    """Return credentials of a role, taken on with a session's own and renewed as they expire."""
    fetcher = AioAssumeRoleCredentialFetcher(
        client_creator=session.create_client,
        source_credentials=own,
        role_arn=role_arn,
        extra_args={"RoleSessionName": _ROLE_SESSION},
    )
    return AioDeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
