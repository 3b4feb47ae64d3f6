"""The credential of calls: an API key, or a bearer token that may be renewed."""

from __future__ import annotations

from dynamodb_processor_client.trace_context import Metadata
from dynamodb_processor_client.transport import TokenProvider, token_of


class CallCredential:
    """Makes the metadata of calls.

    Attributes:
        fixed: The metadata of all calls; None if a provider gives a token for each.
    """

    def __init__(self, api_key: str | None, token: str | TokenProvider | None) -> None:
        """Check the credential, of which at most one may be given.

        Raises:
            TypeError: It has the wrong type.
            ValueError: It has characters that none can have, or there are two.
        """
        if api_key is not None and token is not None:
            raise ValueError("give api_key or token, not both")
        self._provider: TokenProvider | None = None
        self.fixed: Metadata | None = ()
        if api_key is not None:
            key = _checked("api_key", "the API key", api_key)
            self.fixed = (("x-api-key", key),) if key else ()
        elif callable(token):
            self._provider, self.fixed = token, None
        elif token is not None:
            self.fixed = _bearer(token)

    @property
    def is_renewed(self) -> bool:
        """Whether a later call may have another token."""
        return self._provider is not None

    async def metadata(self) -> Metadata:
        """Return the metadata of the next call.

        Raises an exception of the provider, and TypeError or ValueError for a result that is no
        token.
        """
        if self._provider is None:
            return self.fixed or ()
        return _bearer(await token_of(self._provider))


def _bearer(token: str) -> Metadata:
    text = _checked("token", "the bearer token", token)
    if not text:
        raise ValueError("token: the bearer token is empty")
    return (("authorization", f"Bearer {text}"),)


def _checked(argument: str, name: str, text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{argument} is a string, not a {type(text).__name__}")
    if not (text.isascii() and text.isprintable()):
        raise ValueError(f"{name} has characters that no such text can have")
    return text
