"""The ratios that the benchmark demands, each with its bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from figures import Figure, Ratio


@dataclass(frozen=True, slots=True)
class Target:
    """A demanded ratio of two figures of CPU per call, or of bytes; `at_least` or at most."""

    name: str
    text: str
    numerator: str
    denominator: str
    bound: float
    at_least: bool = False

    def holds(self, ratio: float) -> bool:
        """Return whether a ratio is within the bound."""
        return ratio >= self.bound if self.at_least else ratio <= self.bound

    @property
    def demand(self) -> str:
        """The bound as text."""
        return f"{'>=' if self.at_least else '<='} {self.bound:g}"


# A busy core has a rate of one over the CPU per call: ratios of rates are made of that, too.
TARGETS: Final = (
    Target("miss_vs_aiobotocore", "miss ÷ aiobotocore's Query", "miss", "aiobotocore", 0.42),
    Target("miss_vs_aiodynamo", "miss ÷ aiodynamo's Query", "miss", "aiodynamo", 1.9),
    Target(
        "stream_vs_aiobotocore",
        "page of a stream ÷ aiobotocore's Query",
        "stream",
        "aiobotocore",
        0.30,
    ),
    Target(
        "known_shape_vs_anew",
        "preparing a known shape ÷ planning anew",
        "prepare_known_shape",
        "prepare_anew",
        0.15,
    ),
    Target(
        "hit_vs_floor",
        "rate of hits ÷ floor, both busy",
        "floor_saturated",
        "hit_saturated",
        0.82,
        True,
    ),
    Target("hit_vs_floor_by_k6", "rate of hits ÷ floor, by k6", "floor", "hit", 0.82, True),
    Target("miss_vs_naive", "rate of misses ÷ naive service", "naive", "miss", 8, True),
    Target(
        "stream_vs_paginator",
        "rate of streamed pages ÷ boto3's paginator",
        "boto3_paginator",
        "stream",
        2,
        True,
    ),
    Target("hits_500_vs_10", "rate of hits, 500 callers ÷ 10", "hit@10", "hit@500", 0.97, True),
    Target(
        "cached_page_memory",
        "memory of cached pages ÷ their wire size",
        "cached_page_resident_bytes",
        "cached_page_wire_bytes",
        1.05,
    ),
    Target("get_vs_floor", "cached get of 10 keys ÷ floor, both busy", "get", "get_floor", 1.5),
    Target("misses_500_vs_10", "rate of misses, 500 ÷ 10", "miss@10", "miss@500", 0.97, True),
)


@dataclass(frozen=True, slots=True)
class Result:
    """A target and the measured ratio."""

    target: Target
    ratio: Ratio

    @property
    def holds(self) -> bool:
        """Whether the ratio is within the bound."""
        return self.target.holds(self.ratio.value)

    def as_json(self) -> dict[str, object]:
        """Return the result for the report."""
        return self.ratio.as_json() | {"target": self.target.demand, "holds": self.holds}


def compare(figures: Mapping[str, Figure]) -> list[Result]:
    """Return the measured ratio of every target."""
    return [
        Result(target, Ratio(figures[target.numerator], figures[target.denominator]))
        for target in TARGETS
    ]


def print_results(results: Sequence[Result]) -> None:
    """Print one line for each target, and whether it holds."""
    print(f"\n{'ratio of medians':44}{'measured':>9}  {'quartiles by round':20}{'target':>9}")
    for result in results:
        low, high = result.ratio.by_round.spread
        verdict = "holds" if result.holds else "MISSED"
        print(
            f"{result.target.text:44}{result.ratio.value:9.3f}  {f'{low:.3f} to {high:.3f}':20}"
            f"{result.target.demand:>9}  {verdict}"
        )
    missed = sum(not result.holds for result in results)
    print(f"{len(results) - missed} of {len(results)} targets hold, {missed} missed")
