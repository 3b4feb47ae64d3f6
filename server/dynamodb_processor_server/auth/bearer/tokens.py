"""Identifies callers by bearer tokens, with the issuers, keys and roles that are in force."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from cachetools import LRUCache

from dynamodb_processor_server.auth.api_keys import credential_of
from dynamodb_processor_server.auth.bearer.identity_file import IdentityFile, IssuerEntry
from dynamodb_processor_server.auth.bearer.issuer_keys import IssuerKeys
from dynamodb_processor_server.auth.bearer.key_source import FileSource, KeySource, UrlSource
from dynamodb_processor_server.auth.bearer.role_grants import RoleGrants
from dynamodb_processor_server.auth.bearer.verifier import Issuer, TokenVerifier
from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.principal import Principal

_MAX_VERIFIED: Final = 4_096  # tokens whose principals are cached
# Seconds that a call may wait for the keys of an issuer beside two reads: they are a second apart.
_BETWEEN_READS: Final = 2.0


@dataclass(frozen=True, slots=True)
class KeySetReading:
    """When key sets are read, in seconds.

    Attributes:
        url_interval: Between two reads of a key set at an address.
        file_interval: Between two reads of a key set in a file.
        timeout: For one read of a key set at an address.
    """

    url_interval: float = 300.0
    file_interval: float = 5.0
    timeout: float = 5.0


class TokenVersion:
    """The issuers, their keys and the roles of one moment, and the tokens verified with them.

    It is replaced when one of them changes. Verifying a signature takes about 0.1 ms, and a client
    sends its token with each call. So the principal of a token is cached until the token expires,
    by a digest, so that no token is held.
    """

    def __init__(
        self, verifier: TokenVerifier, roles: RoleGrants, count_verified: Callable[[], None]
    ) -> None:
        self._verifier = verifier
        self._roles = roles
        self._count_verified = count_verified
        self._verified: LRUCache[bytes, Principal] = LRUCache(_MAX_VERIFIED)

    def authenticate(self, token: str, now: float) -> Principal:
        """Return the principal of a token; `now` is in seconds since the epoch.

        Raises BearerTokenRefused.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._verified.get(digest)
        if known is not None and now < known.expires:
            return known
        self._count_verified()
        verified = self._verifier.verify(token, now)
        principal = self._verified[digest] = self._roles.principal_of(verified, token)
        return principal


class BearerTokens:
    """The current `TokenVersion`, and the keys of its issuers, which are read at intervals.

    Attributes:
        version: The issuers, keys and roles in force.
        keys: The keys of each issuer, by the issuer's id.
        verified: The number of tokens that were verified instead of found in the cache.
    """

    def __init__(
        self,
        file: IdentityFile,
        reading: KeySetReading,
        further: Sequence[Grant] = (),
    ) -> None:
        """Create it without keys.

        Args:
            file: The identity file.
            reading: When key sets are read.
            further: Grants that each principal has behind its own.
        """
        self.keys: dict[str, IssuerKeys] = {}
        self.verified = 0
        self._reading = reading
        self._further = tuple(further)
        self._watches: dict[str, asyncio.Task[None]] | None = None
        self._file = file
        self.adopt(file)

    def adopt(self, file: IdentityFile) -> None:
        """Use another identity file; issuers whose key set is read as before keep their keys."""
        before = {entry.id: _location(entry) for entry in self._file.issuers}
        kept = {
            entry.id: self.keys[entry.id]
            for entry in file.issuers
            if entry.id in self.keys and before[entry.id] == _location(entry)
        }
        self._file = file
        self.keys = {
            entry.id: kept.get(entry.id)
            or IssuerKeys(
                entry.id,
                source_of(entry, self._reading.timeout),
                self._replace_version,
                longest_wait=2 * self._reading.timeout + _BETWEEN_READS,
            )
            for entry in file.issuers
        }
        self._replace_version()
        if self._watches is not None:
            for name in self._watches.keys() - kept.keys():
                self._watches.pop(name).cancel()
            self._start_watches(self._watches)

    async def watch(self) -> NoReturn:
        """Read the key sets now and at intervals, until cancelled."""
        self._watches = {}
        try:
            self._start_watches(self._watches)
            await asyncio.get_running_loop().create_future()
            raise AssertionError("the future is never done")
        finally:
            tasks = self._watches.values()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _start_watches(self, watches: dict[str, asyncio.Task[None]]) -> None:
        for entry in self._file.issuers:
            if entry.id not in watches:
                at_url = entry.jwks_url is not None
                every = self._reading.url_interval if at_url else self._reading.file_interval
                watches[entry.id] = asyncio.create_task(self.keys[entry.id].watch(every))

    def _replace_version(self) -> None:
        issuers = []
        for entry in self._file.issuers:
            keys = self.keys[entry.id]
            issuers.append(Issuer(entry, keys.current, keys.refresh))
        self.version = TokenVersion(
            TokenVerifier(issuers),
            RoleGrants(self._file.roles, self._further),
            self._count_verified,
        )

    def _count_verified(self) -> None:
        self.verified += 1


def token_of(metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
    """Return the bearer token in a call's metadata, None if there is none.

    It is the text after `Bearer` in `authorization` if that has the form of a JSON Web Token, three
    parts with dots between. Any other text is an API key.

    Raises:
        Unauthenticated: There are two different credentials.
    """
    pairs = tuple(metadata)
    text = credential_of(pairs)
    if text is None or text.count(".") != 2:
        return None
    return text if any(name == "authorization" for name, _ in pairs) else None


def source_of(entry: IssuerEntry, timeout: float) -> KeySource:
    """Return the place from which an issuer's key set is read, in `timeout` seconds at most."""
    if entry.jwks_file is not None:
        return FileSource(entry.jwks_file)
    assert entry.jwks_url is not None, "an issuer has one of the two"
    return UrlSource(entry.jwks_url, timeout)


def _location(entry: IssuerEntry) -> object:
    return entry.jwks_url, entry.jwks_file
