"""Figures with their spread, and ratios of medians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured figure: one value for each round."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """The median of all rounds."""
        return median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The first and the third quartile."""
        if len(self.values) < 2:
            return self.values[0], self.values[0]
        first, _, third = quantiles(self.values, n=4, method="inclusive")
        return first, third

    def as_json(self) -> dict[str, object]:
        """Return the figure for the report."""
        low, high = self.spread
        return {
            "median": round(self.median, 4),
            "quartiles": [round(low, 4), round(high, 4)],
            "min": round(min(self.values), 4),
            "max": round(max(self.values), 4),
            "rounds": len(self.values),
        }


@dataclass(frozen=True, slots=True)
class Ratio:
    """The ratio of the medians of two figures that were measured in the same rounds."""

    numerator: Figure
    denominator: Figure

    @property
    def value(self) -> float:
        """The ratio of the medians."""
        return self.numerator.median / self.denominator.median

    @property
    def by_round(self) -> Figure:
        """The ratio of each round, for the spread."""
        pairs = zip(self.numerator.values, self.denominator.values, strict=False)
        return Figure([one / other for one, other in pairs])

    def as_json(self) -> dict[str, object]:
        """Return the ratio for the report."""
        return {"ratio": round(self.value, 4), "by_round": self.by_round.as_json()}
