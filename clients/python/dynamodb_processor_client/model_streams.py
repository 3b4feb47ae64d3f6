"""Streams of items as instances of a model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from dynamodb_processor_client.errors import QueryError
from dynamodb_processor_client.model_fields import converter_of
from dynamodb_processor_client.model_values import Mismatch
from dynamodb_processor_client.models import mismatch_error

if TYPE_CHECKING:
    from dynamodb_processor_client.pages import PageStats, Total
    from dynamodb_processor_client.streams import ItemStream

_Model = TypeVar("_Model")

#: Returns the names of a table's key attributes.
KeyNames: TypeAlias = Callable[[], Awaitable[Sequence[str]]]


class ModelStream(AsyncIterator[_Model], Generic[_Model]):
    """An iterator over the items of a result as instances of a model.

    An item that does not fit raises `ItemMismatch`. The iteration may go on after it, with the next
    item.
    """

    def __init__(self, items: ItemStream, model: type[_Model], key_names: KeyNames) -> None:
        """Iterate over `items`; `QueryClient.stream` with `as_` is the public way.

        `key_names` is called for the first item that does not fit.

        Raises:
            TypeError: `model` is no dataclass or pydantic model, or a field has a type that items
                cannot have.
        """
        self._items = items
        self._model = model
        self._convert = converter_of(model)
        self._key_names = key_names
        self._key: Sequence[str] | None = None

    @property
    def resume_token(self) -> str:
        """The token to continue after the iteration, as that of `ItemStream`."""
        return self._items.resume_token

    @property
    def freshness_token(self) -> str:
        """The token for `CachePolicy.not_before_token`, as that of `PageStream`."""
        return self._items.freshness_token

    @property
    def stats(self) -> PageStats:
        """The cost of the stream so far, over all its calls."""
        return self._items.stats

    @property
    def total(self) -> Total | None:
        """The number of matching items: `None` before the first item, or if not requested."""
        return self._items.total

    async def __anext__(self) -> _Model:
        """Return the next item.

        Raises:
            ItemMismatch: The item does not fit the model.
            QueryError: As `ItemStream` raises it.
        """
        item = await anext(self._items)
        try:
            converted: _Model = self._convert(item)
        except Mismatch as mismatch:
            if self._key is None:
                self._key = await self._read_key_names()
            raise mismatch_error(self._model, item, self._key, mismatch) from None
        return converted

    async def aclose(self) -> None:
        """End the stream; the service stops reading for it."""
        await self._items.aclose()

    async def _read_key_names(self) -> Sequence[str]:
        try:
            return await self._key_names()
        except QueryError:
            return ()  # The message is then without the key.
