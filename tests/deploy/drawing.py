"""Draws a dashboard as SVG, from the series that its queries have in Prometheus."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from tests.support.prometheus import Series

_SVG: Final = "http://www.w3.org/2000/svg"
_COLUMNS: Final = 2
_WIDTH, _HEIGHT = 460, 250  # of a panel, in pixels
_LEFT, _TOP, _RIGHT, _BOTTOM = 58, 34, 14, 74
_LEGEND_ROW: Final = 13
_MOST_LEGENDS: Final = 8
_LONGEST_LEGEND: Final = 34
_COLORS: Final = (
    "#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#e377c2", "#7f7f7f",
    "#bcbd22", "#17becf",
)  # fmt: skip
#: The lines of a panel: their legends, and their points.
Lines = Sequence[tuple[str, Series]]


def legend(text: str, labels: Mapping[str, str]) -> str:
    """Return a legend with the values of its labels put in, as Grafana does."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), text).strip()


def draw(page: Mapping[str, Any], panels: Sequence[Lines], seconds: float) -> str:
    """Return the picture of a dashboard; `panels` are the lines of its panels, in their order."""
    rows = -(-len(panels) // _COLUMNS)
    width, height = _COLUMNS * _WIDTH, rows * _HEIGHT + 40
    parts = [
        f'<svg xmlns="{_SVG}" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#f4f5f5"/>',
        _text(14, 26, f"{page['title']} ({seconds:.0f} s)", size=16),
    ]
    for number, (panel, lines) in enumerate(zip(page["panels"], panels, strict=True)):
        row, column = divmod(number, _COLUMNS)
        parts.append(f'<g transform="translate({column * _WIDTH},{40 + row * _HEIGHT})">')
        parts += _panel(panel, lines)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Mapping[str, Any], lines: Lines) -> list[str]:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = [
        f'<rect x="4" y="2" width="{_WIDTH - 8}" height="{_HEIGHT - 6}" rx="3" fill="#ffffff"/>',
        _text(14, 22, panel["title"], size=13),
    ]
    if not lines:
        return [*parts, _text(_WIDTH / 2, _HEIGHT / 2, "No data", anchor="middle", color="#888888")]
    points = [point for _, series in lines for point in series.points]
    first, last = min(at for at, _ in points), max(at for at, _ in points)
    most = max(value for _, value in points) or 1.0
    for part in (0.0, 0.5, 1.0):
        y = bottom - part * (bottom - _TOP)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#e4e5e6"/>')
        parts.append(_text(_LEFT - 6, y + 4, written(part * most, unit), anchor="end", size=10))
    for number, (name, series) in enumerate(lines):
        color = _COLORS[number % len(_COLORS)]
        path = " ".join(
            f"{_LEFT + (at - first) / max(last - first, 1.0) * (right - _LEFT):.1f},"
            f"{bottom - value / most * (bottom - _TOP):.1f}"
            for at, value in series.points
        )
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        if number < _MOST_LEGENDS:
            x = _LEFT + number % 2 * (_WIDTH - _LEFT) / 2
            y = bottom + 18 + number // 2 * _LEGEND_ROW
            shown = (name or "value")[-_LONGEST_LEGEND:]  # methods differ at their end
            parts.append(_text(x, y, f"— {shown}", size=10, color=color))
    return parts


def written(value: float, unit: str) -> str:
    """Return a value with its unit, short enough for an axis."""
    match unit:
        case "percentunit":
            return f"{100 * value:.3g} %"
        case "s":
            return f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
        case "bytes":
            return f"{value / 2**20:.0f} MiB" if value < 2**33 else f"{value / 2**30:.3g} GiB"
        case "reqps":
            return f"{value:.3g}/s"
    return f"{value:.4g}"


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, color: str = "#222222"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{color}">'
        f"{escape(text)}</text>"
    )
