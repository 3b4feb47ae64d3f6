"""Checks the key sets of the issuers of bearer tokens, for `dynamodb-processor config`."""

from __future__ import annotations

from dataclasses import dataclass

from dynamodb_processor_server.auth.bearer.identity_file import IdentityFile
from dynamodb_processor_server.auth.bearer.key_set import KeySet, KeySetError
from dynamodb_processor_server.auth.bearer.tokens import source_of


@dataclass(frozen=True, slots=True)
class IssuerReport:
    """A text for each issuer by its id, and whether each has a usable key set."""

    texts: dict[str, str]
    ok: bool


async def report_on_issuers(file: IdentityFile, seconds: float) -> IssuerReport:
    """Read the key set of each issuer once, in at most so many seconds each."""
    texts, ok = {}, True
    for entry in file.issuers:
        try:
            keys = KeySet(await source_of(entry, seconds).read())
            texts[entry.id] = f"{len(keys)} keys"
        except KeySetError as error:
            texts[entry.id] = f"the key set {error}"
            ok = False
    return IssuerReport(texts, ok)
