"""A table with one key attribute, and two global indexes with several attributes."""

from __future__ import annotations

from typing import Final

from tests.support.datasets import Index, Schema

ADDRESSES: Final = Schema(
    "places",
    "id",
    None,
    (
        Index("by_place", False, ("country", "city"), ("street", "number")),
        Index("by_city", False, ("city",), (), "INCLUDE", ("name", "id")),
    ),
    {"id": "B", "country": "S", "city": "S", "street": "S", "number": "N"},
)
