"""Line plots as SVG text, for pages that load nothing. Pure; every text in them is escaped."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Final

import attrs

__all__ = ["Plot", "draw"]

Points = Sequence[tuple[float, float]]

_WIDTH: Final = 720
_HEIGHT: Final = 240
_LEFT: Final = 64
_RIGHT: Final = 12
_TOP: Final = 10
_BOTTOM: Final = 34
COLOURS: Final = ("#2b6cb0", "#c05621", "#2f855a", "#97266d", "#744210", "#4a5568")


@attrs.frozen
class Plot:
    """What to draw."""

    series: Mapping[str, Points]
    """Lines by their names, each from left to right."""
    x_label: str
    y_label: str
    percentiles: bool = False
    """x are percentiles below 100, drawn so that each further nine takes the same room."""


def draw(plot: Plot) -> str:
    """The plot as one ``<svg>`` element with a legend; a sentence if there is nothing to draw."""
    series = {name: points for name, points in plot.series.items() if len(points) > 1}
    if not series:
        return "<p class=none>Nothing was measured.</p>"
    place_x = _nines if plot.percentiles else _same
    xs = [place_x(x) for points in series.values() for x, _ in points]
    top = _round_up(max(y for points in series.values() for _, y in points))
    left, right = min(xs), max(*xs, min(xs) + 1e-9)

    def x_of(x: float) -> float:
        return _LEFT + (place_x(x) - left) / (right - left) * (_WIDTH - _LEFT - _RIGHT)

    def y_of(y: float) -> float:
        return _HEIGHT - _BOTTOM - y / top * (_HEIGHT - _TOP - _BOTTOM)

    ticks = _nine_ticks(right) if plot.percentiles else _ticks(left, right)
    parts = [*_frame(plot, ticks, top, x_of, y_of), *_lines(series, x_of, y_of)]
    legend = "".join(
        f'<span><i style="background:{COLOURS[index % len(COLOURS)]}"></i>{escape(name)}</span>'
        for index, name in enumerate(series)
    )
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg><p class=legend>{legend}</p>'


def _frame(
    plot: Plot, ticks: Sequence[float], top: float, x_of: Callable[[float], float], y_of: Callable[[float], float]
) -> Sequence[str]:
    parts = []
    for tick in ticks:
        x = x_of(tick)
        parts.append(f'<text class=tick x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 14}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<line class=grid x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_HEIGHT - _BOTTOM}"/>')
    for tick in _ticks(0, top):
        y = y_of(tick)
        parts.append(f'<text class=tick x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
        parts.append(f'<line class=grid x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>')
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text class=label x="{_WIDTH / 2}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(plot.x_label)}</text>'
    )
    parts.append(
        f'<text class=label transform="translate(12 {middle:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(plot.y_label)}</text>"
    )
    return parts


def _lines(
    series: Mapping[str, Points], x_of: Callable[[float], float], y_of: Callable[[float], float]
) -> Sequence[str]:
    return [
        f'<polyline fill="none" stroke="{COLOURS[index % len(COLOURS)]}" stroke-width="1.5" points="'
        + " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
        + f'"><title>{escape(name)}</title></polyline>'
        for index, (name, points) in enumerate(series.items())
    ]


def _same(x: float) -> float:
    return x


def _nines(percentile: float) -> float:
    """0 at 0 %, 1 at 90 %, 2 at 99 %, 3 at 99.9 % …"""
    return -math.log10(max(1e-7, 1 - percentile / 100))


def _nine_ticks(right: float) -> Sequence[float]:
    return [tick for tick in (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999) if _nines(tick) <= right + 1e-9]


def _round_up(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in (1, 2, 5) if step * power >= value), 10 * power)


def _ticks(low: float, high: float) -> Sequence[float]:
    """About five round values from ``low`` to ``high``."""
    step = _round_up((high - low) / 6)
    first = math.ceil(low / step)
    return [round((first + index) * step, 10) for index in range(12) if (first + index) * step <= high * (1 + 1e-9)]
