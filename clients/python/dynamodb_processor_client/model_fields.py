"""Converts values of items to the types of a model's fields.

| annotation | values |
|---|---|
| `str`, `bytes`, `bool`, `Decimal` | values of that type only |
| `int` | whole numbers |
| `float` | numbers, rounded to the nearest float |
| `datetime`, `date` | text: RFC 3339 with a time zone; a date |
| an `Enum`, a `Literal` | its values: strings, whole numbers, Booleans |
| `list[T]`, `tuple[T, ...]`, `Sequence[T]` | lists |
| `set[T]`, `frozenset[T]` | sets |
| `dict[str, T]`, `Mapping[str, T]` | maps |
| a dataclass, a pydantic model | maps |
| `T | None`, `A | B` | the first that fits |
| `Any` | every value, as the client returns it |
"""

from __future__ import annotations

import dataclasses
import enum
import types
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache, partial
from typing import Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

from dynamodb_processor_client.model_values import (
    SCALARS,
    Converter,
    Mismatch,
    described,
    require,
    to_member,
)


def converter_of(model: type[Any]) -> Converter:
    """Return the function that converts maps to a dataclass or a pydantic model.

    The function raises `Mismatch` for a map that does not fit.

    Raises:
        TypeError: `model` is neither, or a field has a type that items cannot have.
    """
    converter = _cached_converter(cast("Any", model))
    if converter is None:
        raise TypeError(f"a model is a dataclass or a pydantic model, not {model!r}")
    return converter


@lru_cache(maxsize=256)
def _cached_converter(model: Any) -> Converter | None:
    return _model_converter(model, {})


def _model_converter(annotation: Any, known: dict[type, _Dataclass]) -> Converter | None:
    """Return the converter of a model, `None` for another type.

    `known` has the dataclasses that are being examined: they may have fields of their own type.
    """
    if not isinstance(annotation, type):
        return None
    if hasattr(annotation, "model_validate"):
        return partial(_to_pydantic, annotation)
    if not dataclasses.is_dataclass(annotation):
        return None
    if annotation not in known:
        known[annotation] = _Dataclass(annotation)
        known[annotation].fields = list(_fields_of(annotation, known))
    return known[annotation]


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    """A field of a dataclass: the attribute that it takes, and the conversion."""

    name: str
    attribute: str
    convert: Converter
    is_required: bool
    allows_none: bool


class _Dataclass:
    """Converts maps to a dataclass."""

    def __init__(self, model: type) -> None:
        self._model = model
        self.fields: list[_Field] = []

    def __call__(self, value: Any) -> Any:
        require(value, dict)
        arguments = {}
        for field in self.fields:
            if field.attribute in value:
                try:
                    arguments[field.name] = field.convert(value[field.attribute])
                except Mismatch as mismatch:
                    raise mismatch.at(field.attribute) from None
            elif field.is_required and not field.allows_none:
                raise Mismatch("the item has no such attribute", field.attribute)
            elif field.is_required:
                arguments[field.name] = None
        try:
            return self._model(**arguments)
        except (TypeError, ValueError) as error:  # from its `__post_init__`
            raise Mismatch(str(error)) from None


def _fields_of(model: Any, known: dict[type, _Dataclass]) -> Iterable[_Field]:
    try:
        annotations = get_type_hints(model)
    except NameError as error:
        raise TypeError(
            f"the annotations of {model.__name__} cannot be resolved: {error}"
        ) from None
    missing = dataclasses.MISSING
    for field in dataclasses.fields(model):
        if not field.init:
            continue
        annotation = annotations[field.name]
        try:
            convert = _converter(annotation, known)
        except TypeError as error:
            raise TypeError(f"{model.__name__}.{field.name}: {error}") from None
        yield _Field(
            field.name,
            field.metadata.get("attribute", field.name),
            convert,
            is_required=field.default is missing and field.default_factory is missing,
            allows_none=annotation is Any or type(None) in get_args(annotation),
        )


def _converter(annotation: Any, known: dict[type, _Dataclass]) -> Converter:
    """Return the converter of a type.

    Raises:
        TypeError: Items cannot have the type.
    """
    scalar = SCALARS.get(annotation) if isinstance(annotation, type) else None
    if annotation is Any:
        return lambda value: value
    found = scalar or _model_converter(annotation, known)
    if found is not None:
        return found
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return partial(to_member, [(member.value, member) for member in annotation])
    origin, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if origin is Literal:
        return partial(to_member, [(value, value) for value in arguments])
    if origin in (Union, types.UnionType):
        return _union([(each, _converter(each, known)) for each in arguments])
    if origin in _COLLECTIONS and arguments:
        return _collection(origin, arguments, known)
    raise TypeError(f"items have no values of the type {_name(annotation)}")


def _collection(
    origin: Any, arguments: tuple[Any, ...], known: dict[type, _Dataclass]
) -> Converter:
    kind, make = _COLLECTIONS[origin]
    if kind is dict:
        if arguments[0] is not str:
            raise TypeError("the names in a map are strings")
        return partial(_to_map, _converter(arguments[1], known))
    if origin is tuple and arguments[1:] != (...,):
        raise TypeError("a tuple of items has one type and any length: tuple[T, ...]")
    return partial(_to_collection, kind, make, _converter(arguments[0], known))


def _union(members: Sequence[tuple[Any, Converter]]) -> Converter:
    others = [(each, convert) for each, convert in members if each is not type(None)]
    allows_none = len(others) < len(members)

    def convert(value: Any) -> Any:
        if value is None and allows_none:
            return None
        for _, one in others[:-1]:
            try:
                return one(value)
            except Mismatch:
                continue
        try:
            return others[-1][1](value)
        except Mismatch:
            if len(others) == 1:
                raise
            names = " | ".join(_name(each) for each, _ in others)
            raise Mismatch(f"{described(value)} fits none of {names}") from None

    return convert


def _to_map(convert: Converter, value: Any) -> dict[str, Any]:
    require(value, dict)
    return {name: _at(name, convert, member) for name, member in value.items()}


def _to_collection(kind: type, make: Converter, convert: Converter, value: Any) -> Any:
    require(value, kind)
    return make(_at(f"[{index}]", convert, member) for index, member in enumerate(value))


def _at(step: str, convert: Converter, value: Any) -> Any:
    try:
        return convert(value)
    except Mismatch as mismatch:
        raise mismatch.at(step) from None


def _to_pydantic(model: Any, value: Any) -> Any:
    try:
        return model.model_validate(value)
    except ValueError as error:  # pydantic's ValidationError is one
        errors = error.errors() if hasattr(error, "errors") else []
        if not errors:
            raise Mismatch(str(error)) from None
        more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
        mismatch = Mismatch(f"{errors[0]['msg']}{more}")
        for step in reversed(errors[0]["loc"]):
            mismatch = mismatch.at(f"[{step}]" if isinstance(step, int) else str(step))
        raise mismatch from None


def _name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


# The types that a collection can come from, and the function that makes it.
_COLLECTIONS: Final[Mapping[Any, tuple[type, Converter]]] = {
    list: (list, list),
    Sequence: (list, list),
    tuple: (list, tuple),
    set: (set, set),
    AbstractSet: (set, set),
    frozenset: (set, frozenset),
    dict: (dict, dict),
    Mapping: (dict, dict),
}
