"""Items as dataclasses or pydantic models, with an error that names item, field and reason."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from dynamodb_processor_client.errors import QueryError
from dynamodb_processor_client.model_fields import converter_of
from dynamodb_processor_client.model_values import Mismatch

if TYPE_CHECKING:
    from dynamodb_processor_client.pages import PageStats, Total
    from dynamodb_processor_client.streams import ItemStream

_Model = TypeVar("_Model")

#: Returns the names of a table's key attributes.
KeyNames: TypeAlias = Callable[[], Awaitable[Sequence[str]]]
_MAX_SHOWN: Final = 200  # characters of a key in an error message


class ItemMismatch(ValueError):
    """An item does not fit the model that was requested.

    Attributes:
        model: The name of the model.
        key: The primary key of the item; empty if its attributes are not known or not in the item.
        field: The path of the field, such as `lines[2].price`; empty for the item as a whole.
        reason: Why the value does not fit.
    """

    def __init__(self, model: str, key: Mapping[str, Any], field: str, reason: str) -> None:
        named = f"the item {_shortened(repr(dict(key)))}" if key else "an item"
        at = f"{field}: " if field else ""
        super().__init__(f"{named} does not fit {model}: {at}{reason}")
        self.model = model
        self.key = key
        self.field = field
        self.reason = reason

    def __reduce__(self) -> tuple[type[ItemMismatch], tuple[object, ...]]:
        return type(self), (self.model, self.key, self.field, self.reason)


def as_model(item: Mapping[str, Any], model: type[_Model], *, key: Sequence[str] = ()) -> _Model:
    """Return an item as an instance of a dataclass or of a pydantic model.

    A dataclass's fields take the attributes of their names, or of `field(metadata={"attribute":
    ...})`. Attributes without a field are ignored. Fields without an attribute get their default,
    or `None` if their type allows it.

    Args:
        item: An item, such as one of `Page.items`.
        model: The dataclass or pydantic model.
        key: The names of the table's key attributes, for error messages.

    Raises:
        ItemMismatch: The item does not fit.
        TypeError: `model` is neither, or a field has a type that items cannot have.
    """
    convert = converter_of(model)
    try:
        converted: _Model = convert(item)
    except Mismatch as mismatch:
        raise _error(model, item, key, mismatch) from None
    return converted


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
            raise _error(self._model, item, self._key, mismatch) from None
        return converted

    async def aclose(self) -> None:
        """End the stream; the service stops reading for it."""
        await self._items.aclose()

    async def _read_key_names(self) -> Sequence[str]:
        try:
            return await self._key_names()
        except QueryError:
            return ()  # The message is then without the key.


def _error(
    model: type, item: Mapping[str, Any], key: Sequence[str], mismatch: Mismatch
) -> ItemMismatch:
    named = {name: item[name] for name in key if name in item}
    return ItemMismatch(model.__name__, named, mismatch.path, mismatch.reason)


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
