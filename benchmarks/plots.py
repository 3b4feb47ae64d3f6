"""Plots as SVG: bars, and lines over a number of callers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

_WIDTH: Final = 760
_COLORS: Final = (
    "#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#e377c2", "#7f7f7f",
    "#bcbd22", "#17becf",
)  # fmt: skip


def bars(title: str, unit: str, values: Mapping[str, float]) -> str:
    """Return horizontal bars, one for each value, in their order."""
    left, right, step, top = 300, 90, 24, 44
    scale = (_WIDTH - left - right) / max(values.values())
    parts = [_text(12, 24, f"{title} ({unit})", size=15)]
    for number, (name, value) in enumerate(values.items()):
        y = top + number * step
        parts += [
            _text(left - 8, y + 15, name, anchor="end"),
            _rectangle(left, y + 3, value * scale, step - 7),
            _text(left + value * scale + 6, y + 15, f"{value:,.0f}"),
        ]
    return _svg(top + len(values) * step + 12, parts)


def lines(
    title: str, x_label: str, y_label: str, series: Mapping[str, Sequence[tuple[float, float]]]
) -> str:
    """Return one line for each series of points; both axes are logarithmic."""
    left, right, top, bottom, height = 70, 190, 44, 50, 440
    points = [point for line in series.values() for point in line]
    low_x, high_x = (math.log10(edge(x for x, _ in points)) for edge in (min, max))
    low_y = math.floor(math.log10(min(y for _, y in points)))
    high_y = math.ceil(math.log10(max(y for _, y in points)))

    def at(x: float, y: float) -> tuple[float, float]:
        along = (math.log10(x) - low_x) / (high_x - low_x)
        up = (math.log10(y) - low_y) / (high_y - low_y)
        return left + along * (_WIDTH - left - right), height - bottom - up * (
            height - top - bottom
        )

    parts = [
        _text(12, 24, title, size=15),
        _text((left + _WIDTH - right) / 2, height - 10, x_label, anchor="middle"),
        _text(12, top - 4, y_label),
    ]
    for x in sorted({x for x, _ in points}):
        across, down = at(x, 10**low_y)
        parts.append(_text(across, down + 18, f"{x:g}", anchor="middle"))
    for exponent in range(low_y, high_y + 1):
        across, down = at(10**low_x, 10**exponent)
        parts += [
            _rectangle(left, down, _WIDTH - left - right, 1, "#dddddd"),
            _text(across - 8, down + 4, f"{10**exponent:,.0f}", anchor="end"),
        ]
    by_end = sorted(series, key=lambda name: -series[name][0][1])
    for number, name in enumerate(by_end):
        color = _COLORS[number % len(_COLORS)]
        places = [at(x, y) for x, y in sorted(series[name])]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
        parts.append(_text(_WIDTH - right + 16, top + 12 + number * 20, name, color=color))
    return _svg(height, parts)


def _rectangle(x: float, y: float, width: float, height: float, color: str = _COLORS[0]) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{color}"/>'
    )


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, color: str = "#222222"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{color}">'
        f"{escape(text)}</text>"
    )


def _svg(height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" '
        'font-family="sans-serif">'
    )
    background = f'<rect width="{_WIDTH}" height="{height:.0f}" fill="#ffffff"/>'
    return "\n".join((head, background, *parts, "</svg>", ""))
