"""Makes the plots of a run, and writes its figures into docs/performance.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import plots
from targets import TARGETS

_DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
_PAGE: Final = _DOCS / "performance.md"
_BEGIN, _END = "<!-- figures -->\n", "<!-- /figures -->\n"
_TEXTS: Final = {
    "floor": "bare `grpc.aio` handler, the floor",
    "hit": "**this service, a hit**",
    "floor_saturated": "the floor, kept busy",
    "hit_saturated": "**this service, a hit**, kept busy",
    "fastapi_cached": "FastAPI with cached bytes, a hit",
    "miss": "**this service, a miss**, new values each time",
    "aiobotocore": "aiobotocore in the caller, a Query",
    "aiodynamo": "aiodynamo in the caller, a Query",
    "naive": "naive gRPC service (aioboto3 resource, `json_format`)",
    "fastapi_plain": "FastAPI with aioboto3, plain",
    "boto3": "boto3 in the caller, a Query",
    "pynamodb": "PynamoDB in the caller, a Query",
    "stream": "**this service, a page of a stream** from DynamoDB",
    "boto3_paginator": "boto3's paginator in the caller, a page",
}

#: The report of a run, as in build/bench.json.
Report = Mapping[str, Any]


def write_plots(report: Report, directory: Path) -> None:
    """Write both plots into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    stages = {name: figure["median"] for name, figure in report["ladder"].items()}
    for name in ("stream", "miss"):
        text = _TEXTS[name].replace("*", "")
        stages[text] = report["cpu_us"][name]["median"]
    stages_svg = plots.bars("CPU per call by stage", "microseconds", stages)
    (directory / "cpu-by-stage.svg").write_text(stages_svg)
    rates = {
        name.replace("_", " "): [
            (float(callers), 1e6 / at["cpu_us_per_call"]["median"]) for callers, at in by.items()
        ]
        for name, by in report["peers"].items()
        if len(by) > 1
    }
    rates_svg = plots.lines(
        "Throughput by concurrency, pages of 100 items",
        "concurrent callers (threads of boto3 and PynamoDB)",
        "pages per second of CPU",
        rates,
    )
    (directory / "throughput-by-concurrency.svg").write_text(rates_svg)


def write_page(report: Report) -> None:
    """Write the figures into the page, and the plots beside it."""
    write_plots(report, _DOCS / "images")
    before, _, rest = _PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    figures = "\n".join(_lines(report))
    _PAGE.write_text(f"{before}{_BEGIN}{figures}\n{_END}{after}", encoding="utf-8")


def _lines(report: Report) -> Iterator[str]:
    run = report["environment"]
    before, after = (load[0] for load in run["load_average"])
    yield (
        f"Commit {run['commit']}, Python {run['python']}, {run['cores']} cores. "
        f"{run['rounds']} rounds of {run['seconds']:g} s, {run['minutes']:g} minutes in all. Load "
        f"average before {before:.1f}, after {after:.1f}; above 2, other programs ran beside it."
    )
    yield from ("", "| ratio of medians | measured | quartiles by round | target | |")
    yield "|---|---|---|---|---|"
    for target in TARGETS:
        result = report["ratios"][target.name]
        low, high = result["by_round"]["quartiles"]
        verdict = "holds" if result["holds"] else "**missed**"
        yield (
            f"| {target.text} | {result['ratio']:.3f} | {low:.3f} to {high:.3f} | "
            f"{'≥' if target.at_least else '≤'} {target.bound:g} | {verdict} |"
        )
    yield from ("", "| page of 100 items | callers | CPU ms | quartiles | ÷ aiobotocore |")
    yield "|---|---|---|---|---|"
    whole = report["cpu_us"]["aiobotocore"]["median"]
    for name, text in _TEXTS.items():
        figure = report["cpu_us"][name]
        low, high = (value / 1e3 for value in figure["quartiles"])
        yield (
            f"| {text} | {report['usual_callers'][name]} | {figure['median'] / 1e3:.2f} | "
            f"{low:.2f} to {high:.2f} | {figure['median'] / whole:.2f} |"
        )
    yield from ("", "| server | resident memory before the first call |", "|---|---|")
    for name, size in report["idle_resident_bytes"].items():
        yield f"| {name} | {size / 2**20:.0f} MiB |"
