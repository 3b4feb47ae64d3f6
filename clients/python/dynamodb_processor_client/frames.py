"""Pages as data frames of pandas, polars and pyarrow, where these are installed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dynamodb_processor_client.column_types import Numbers
from dynamodb_processor_client.frame_builder import DEFAULT_BATCH, FrameBuilder
from dynamodb_processor_client.values import Item

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


class PageFrames(ABC):
    """Converts the items of one page, as `StreamFrames` does."""

    __slots__ = ()

    def to_pandas(
        self, *, numbers: Numbers = "exact", json: Sequence[str] = ()
    ) -> pandas.DataFrame:
        """Return the items of the page as a `pandas.DataFrame`."""
        return self._frame("pandas", numbers, json)

    def to_polars(
        self, *, numbers: Numbers = "exact", json: Sequence[str] = ()
    ) -> polars.DataFrame:
        """Return the items of the page as a `polars.DataFrame`."""
        return self._frame("polars", numbers, json)

    def to_arrow(self, *, numbers: Numbers = "exact", json: Sequence[str] = ()) -> pyarrow.Table:
        """Return the items of the page as a `pyarrow.Table`."""
        return self._frame("pyarrow", numbers, json)

    @abstractmethod
    def _page_items(self) -> Sequence[Item]:
        """Return the items of the page."""

    def _frame(self, library: str, numbers: Numbers, json: Sequence[str]) -> Any:
        builder = FrameBuilder(library, numbers, json, DEFAULT_BATCH)
        builder.add(self._page_items())
        return builder.finish()
