"""Streams as data frames of pandas, polars and pyarrow, where these are installed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from dynamodb_processor_client.column_types import Numbers
from dynamodb_processor_client.frame_builder import DEFAULT_BATCH, FrameBuilder
from dynamodb_processor_client.values import Item

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


class StreamFrames(ABC):
    """Converts the items that an iterator still has. docs/guide/python-client.md has the types.

    The methods have these options:

    - `numbers`: `"exact"` keeps every digit: integers where all numbers of a column are whole and
      fit into 64 bits, else decimals. `"float64"` rounds to doubles.
    - `json`: attributes whose values become JSON text with DynamoDB's types, such as those with
      values of several types.
    - `batch_size`: items that are converted at a time.

    Every method raises `ImportError` if the library is not installed, `FrameError` if the values of
    an attribute do not fit into one column, and `QueryError` as the iteration does.
    """

    @abstractmethod
    def _batches(self) -> AsyncIterator[Sequence[Item]]:
        """Yield the remaining items, page by page."""

    async def to_pandas(
        self,
        *,
        numbers: Numbers = "exact",
        json: Sequence[str] = (),
        batch_size: int = DEFAULT_BATCH,
    ) -> pandas.DataFrame:
        """Return the remaining items as a `pandas.DataFrame`.

        Decimals, binary values, sets, lists and maps are Python objects, and a column may have
        values of several types.
        """
        return await self._frame(FrameBuilder("pandas", numbers, json, batch_size))

    async def to_polars(
        self,
        *,
        numbers: Numbers = "exact",
        json: Sequence[str] = (),
        batch_size: int = DEFAULT_BATCH,
    ) -> polars.DataFrame:
        """Return the remaining items as a `polars.DataFrame`. Sets become sorted lists."""
        return await self._frame(FrameBuilder("polars", numbers, json, batch_size))

    async def to_arrow(
        self,
        *,
        numbers: Numbers = "exact",
        json: Sequence[str] = (),
        batch_size: int = DEFAULT_BATCH,
    ) -> pyarrow.Table:
        """Return the remaining items as a `pyarrow.Table`. Sets become sorted lists."""
        return await self._frame(FrameBuilder("pyarrow", numbers, json, batch_size))

    async def _frame(self, builder: FrameBuilder) -> Any:
        async for items in self._batches():
            builder.add(items)
        return builder.finish()
