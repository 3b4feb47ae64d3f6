"""Items as dataclasses or pydantic models, with an error that names item, field and reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from dynamodb_processor_client.model_fields import converter_of
from dynamodb_processor_client.model_values import Mismatch

_Model = TypeVar("_Model")

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
        raise mismatch_error(model, item, key, mismatch) from None
    return converted


def mismatch_error(
    model: type, item: Mapping[str, Any], key: Sequence[str], mismatch: Mismatch
) -> ItemMismatch:
    """Return the error for an item, with those of its attributes that `key` names."""
    named = {name: item[name] for name in key if name in item}
    return ItemMismatch(model.__name__, named, mismatch.path, mismatch.reason)


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
