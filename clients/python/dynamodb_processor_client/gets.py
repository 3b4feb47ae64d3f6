"""Keys of items as messages, and the items that were found for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from dynamodb_processor.v1.value_pb2 import Item as ItemMessage
from dynamodb_processor_client import argument_checks as check
from dynamodb_processor_client.pages import CacheInfo, PageStats
from dynamodb_processor_client.values import Item, Value, encode


class FoundItems(list["Item | None"]):
    """The item of each key, in the order of the keys; `None` for a key without an item.

    Attributes:
        stats: The cost over all calls.
        read_time: When the oldest items of the first call were read, in UTC; `None` if no item was
            read.
        cache: The source of the items of the first call; `None` if there was none.
        freshness_token: For `CachePolicy.not_before_token` of later calls. It covers all calls.
    """

    stats: PageStats = PageStats()
    read_time: datetime | None = None
    cache: CacheInfo | None = None
    freshness_token: str = ""


def key_message(key: Mapping[str, Value]) -> ItemMessage:
    """Return a primary key as a message.

    Raises:
        TypeError: The key is not a mapping, or DynamoDB does not have the type of a value.
        ValueError: DynamoDB cannot hold a value.
    """
    if not isinstance(key, Mapping):
        raise TypeError(f"a key is a mapping from attribute to value, not {key!r}")
    attributes = {}
    for name, value in check.mapping("a key", key).items():
        with check.error_prefix(name):
            attributes[name] = encode(value)
    return ItemMessage(attributes=attributes)


def key_messages(keys: Iterable[Mapping[str, Value]]) -> list[ItemMessage]:
    """Return primary keys as messages.

    Raises:
        TypeError: The argument is a single key or not a list, or DynamoDB does not have the type of
            a value.
        ValueError: DynamoDB cannot hold a value.
    """
    if isinstance(keys, Mapping | str | bytes):
        raise TypeError(f"get() takes a list of keys, not one: give it [{keys!r}]")
    if not isinstance(keys, Iterable):
        raise TypeError(f"get() takes a list of keys, not {keys!r}")
    messages = []
    for index, key in enumerate(keys):
        with check.error_prefix(f"keys[{index}]"):
            messages.append(key_message(key))
    return messages
