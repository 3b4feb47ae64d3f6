"""Items of nearly 400 KB of every type, the largest that DynamoDB takes.

DynamoDB Local gives nested numbers back as they were written, and writes out those of a set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from botocore.exceptions import ClientError

from tests.support.conditions import Wire, WireItem

_LONGEST: Final = "1234567890123456789012345678901234567"  # And one digit more.


def _numbered(number: int) -> str:
    return f"{number:06}".rjust(30, "x")


#: By name, a value of about `size` bytes as DynamoDB counts them; the largest of them is found.
VALUES: Final[dict[str, Callable[[int], Wire]]] = {
    "string": lambda size: {"S": "x" * size},
    "text": lambda size: {"S": "größe€😀" * (size // 14)},
    "binary": lambda size: {"B": b"\x00\xff" * (size // 2)},
    "numbers of 126 digits": lambda size: {"L": [{"N": "1E125"}] * (size // 3)},
    "numbers of 130 places": lambda size: {"L": [{"N": "-1E-130"}] * (size // 4)},
    "numbers of 38 digits": lambda size: {"L": [{"N": f"{_LONGEST}8E88"}] * (size // 21)},
    "numbers of 1 digit": lambda size: {"L": [{"N": "1"}] * (size // 3)},
    "numbers of 20 digits": lambda size: {"L": [{"N": f"-1{'0' * 19}"}] * (size // 4)},
    "number set": lambda size: {
        "NS": [f"{number}1E{119 - number % 9}" for number in range(100_000, 100_000 + size // 5)]
    },
    "string set": lambda size: {"SS": list(map(_numbered, range(size // 30)))},
    "binary set": lambda size: {"BS": [_numbered(n).encode() for n in range(size // 30)]},
    "Booleans": lambda size: {"L": [{"BOOL": True}] * (size // 2)},
    "nulls": lambda size: {"L": [{"NULL": True}] * (size // 2)},
    "empty lists": lambda size: {"L": [{"L": []}] * (size // 4)},
    "empty maps": lambda size: {"L": [{"M": {}}] * (size // 4)},
    "map of numbers": lambda size: {
        "M": {f"{number:x}": {"N": "1E125"} for number in range(size // 8)}
    },
    "list of maps": lambda size: {"L": [{"M": {"a": {"N": "1E125"}}}] * (size // 8)},
}


#: The kinds that stand for the others where there is little time.
SHORT: Final = ("string", "binary", "nulls")


def put_large_item(client: Any, table: str, kind: str) -> WireItem:
    """Write one item of a kind, as large as it can be, and return it."""
    size = 400_000
    while True:
        item = {"id": {"S": kind}, "at": {"N": "0"}, "data": VALUES[kind](size)}
        try:
            client.put_item(TableName=table, Item=item)
        except ClientError as error:
            # DynamoDB Local takes no request of more than 16 MB.
            if "size" not in str(error) and "413" not in str(error):
                raise
            size = size * 95 // 100
        else:
            return item
