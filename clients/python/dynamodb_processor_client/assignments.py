"""`NAME=TEXT`, `NAME:=JSON` and `NAME::=TYPED`: named values on the command line of `ddbq`."""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation

from dynamodb_processor_client.values import Value, encode, number

FORMS = "NAME=TEXT, NAME:=JSON for numbers, booleans, null, lists and maps, or NAME::=TYPED for "
FORMS += """DynamoDB's own JSON, such as NAME::='{"B": "AQI="}' or NAME::='{"SS": ["a", "b"]}'"""

_ASSIGNMENT = re.compile(
    r'(?P<name>"(?:[^"]|"")+"|[^="][^=]*?)(?P<sign>::=|:=|=)(?P<text>.*)', re.DOTALL
)
_PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def attribute(argument: str) -> tuple[str, Value]:
    """Parse an attribute and its value. A name that contains `=` or ends with `:` is quoted.

    Raises:
        ArgumentTypeError: The argument is not an assignment, or DynamoDB cannot hold the value.
    """
    name, sign, text = _parts(argument)
    try:
        value = _READERS[sign](text)
        encode(value)
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(f"{name}: {error}") from error
    return name, value


def parameter(argument: str) -> tuple[str, Value]:
    """Parse the name of a parameter, without its colon, and its value.

    Raises:
        ArgumentTypeError: The argument is not an assignment, the name is not valid for a parameter,
            or DynamoDB cannot hold the value.
    """
    name, _, _ = _parts(argument)
    if name.startswith(":") and _PARAMETER_NAME.fullmatch(name[1:]):
        raise argparse.ArgumentTypeError(
            f"{argument!r}: write the parameter without the colon: {argument[1:]!r}"
        )
    if not _PARAMETER_NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(
            f"not name=text or name:=json: {argument!r}; a parameter's name has letters, digits "
            "and _"
        )
    return attribute(argument)


def unique(pairs: Iterable[tuple[str, Value]], source: str) -> dict[str, Value]:
    """Return pairs as a dictionary.

    Raises:
        ValueError: A name is given twice; the message begins with `source`.
    """
    found: dict[str, Value] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{source}: {name} is given twice")
        found[name] = value
    return found


def utf8(argument: str) -> str:
    """Return an argument decoded from UTF-8, also in a locale with another encoding.

    Raises:
        ArgumentTypeError: The argument is not UTF-8.
    """
    try:
        argument.encode()
    except UnicodeEncodeError:
        try:
            return os.fsencode(argument).decode()
        except UnicodeError as error:
            raise argparse.ArgumentTypeError(f"not UTF-8: {argument!r}") from error
    return argument


def _parts(argument: str) -> tuple[str, str, str]:
    match = _ASSIGNMENT.fullmatch(utf8(argument))
    if match is None:
        raise argparse.ArgumentTypeError(f"not name=text or name:=json: {argument!r}")
    name = match["name"]
    if name.startswith('"'):
        name = name[1:-1].replace('""', '"')
    return name, match["sign"], match["text"]


def _json(text: str) -> Value:
    value: Value = _loads(text)
    return value


def _typed(text: str) -> Value:
    return _from_typed(_loads(text))


def _loads(text: str) -> Value:
    def refuse(constant: str) -> None:
        raise ValueError(f"JSON has no {constant}")

    try:
        value: Value = json.loads(
            text,
            parse_float=_decimal,
            parse_int=_decimal,
            parse_constant=refuse,
            object_pairs_hook=lambda pairs: unique(pairs, "JSON"),
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}; NAME=TEXT gives text") from error
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"DynamoDB has no number {text}") from None


def _from_typed(value: object) -> Value:
    """Return the value of DynamoDB's JSON: an object with one type and its value."""
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ValueError('not DynamoDB\'s JSON, which is as {"S": "text"}')
    ((kind, content),) = value.items()
    if kind not in _TYPES:
        raise ValueError(f"DynamoDB has no type {kind}: it has {', '.join(_TYPES)}")
    return _TYPES[kind](content)


def _string(content: object) -> str:
    if not isinstance(content, str):
        shown = content if isinstance(content, Decimal) else repr(content)
        raise ValueError(f"{shown} is not a string; write it in double quotes")
    return content


def _binary(content: object) -> bytes:
    try:
        return base64.b64decode(_string(content), validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {content!r}") from error


def _bool(content: object) -> bool:
    if not isinstance(content, bool):
        raise ValueError(f"{content!r} is neither true nor false")
    return content


def _null(content: object) -> None:
    if content is not True:
        raise ValueError('null is {"NULL": true}')


def _list(content: object) -> list[object]:
    if not isinstance(content, list):
        raise ValueError(f"{content!r} is not a list")
    return content


def _set_of(read: Callable[[object], Value]) -> Callable[[object], Value]:
    def read_set(content: object) -> Value:
        members: list[Value] = [read(member) for member in _list(content)]
        found = set(members)
        if len(found) < len(members):
            raise ValueError("a member of a set is given twice")
        return found  # type: ignore[return-value]  # all members have one type

    return read_set


def _number(content: object) -> Decimal:
    return number(_string(content))


def _map(content: object) -> Value:
    if not isinstance(content, Mapping):
        raise ValueError(f"{content!r} is not a map")
    return {name: _from_typed(value) for name, value in content.items()}


_TYPES: Mapping[str, Callable[[object], Value]] = {
    "S": _string,
    "N": _number,
    "B": _binary,
    "BOOL": _bool,
    "NULL": _null,
    "SS": _set_of(_string),
    "NS": _set_of(_number),
    "BS": _set_of(_binary),
    "L": lambda content: [_from_typed(member) for member in _list(content)],
    "M": _map,
}
_READERS: Mapping[str, Callable[[str], Value]] = {"=": str, ":=": _json, "::=": _typed}
