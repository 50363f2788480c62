"""Charts as SVG, drawn without a library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

Span = tuple[float, float, float]
"""Between which values one lies, with itself in the middle: (low, value, high)."""
Row = tuple[str, Mapping[str, Span]]
Series = tuple[str, Sequence[tuple[int, Span]]]
Point = tuple[float, float]

COLOURS = ("#0b6e99", "#d1495b", "#2a9d5c", "#8e6c8a", "#c98a1b")
INK, FAINT = "#222222", "#d8d8d8"
THICK, DASHED = ' stroke-width="2"', ' stroke-dasharray="4 3"'
CHARACTER, LINE, LANE, MARGIN = 7.3, 18, 12, 16  # in pixels, as all lengths here
PLOT_WIDTH, PLOT_HEIGHT = 420, 260
TICKS = 5


@dataclass(frozen=True, slots=True)
class _Plane:
    """Where numbers and values lie: the edges, pixels one is tall, and all numbers in order."""

    left: float
    top: float
    scale: float
    numbers: Sequence[int]

    @property
    def bottom(self) -> float:
        return self.top + PLOT_HEIGHT

    def x(self, number: int) -> float:
        first, last = math.log(self.numbers[0]), math.log(self.numbers[-1])
        share = (math.log(number) - first) / (last - first) if last > first else 0.5
        return self.left + PLOT_WIDTH * share

    def y(self, value: float) -> float:
        return self.bottom - self.scale * value


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where things lie: the edges of the plot, and how many pixels one is wide."""

    left: float
    top: float
    bottom: float
    scale: float

    def x(self, value: float) -> float:
        return self.left + self.scale * value

    def upright(self, value: float, colour: str, more: str = "") -> str:
        return _line((self.x(value), self.top), (self.x(value), self.bottom), colour, more)


def intervals(rows: Sequence[Row], marks: Mapping[str, float] | None = None) -> str:
    """Draw values with their intervals, one row below the other.

    Parameters
    ----------
    rows : sequence of (str, mapping of str to (low, value, high))
        At least one: its name, and the series on it. Nothing lies below zero.
    marks : mapping of str to float, optional
        Values at which a line goes through all rows, and what they are.

    Returns
    -------
    str
        An SVG document.
    """
    marks = marks or {}
    series = list(dict.fromkeys(name for _, of_row in rows for name in of_row))
    largest = max([*marks.values(), *(high for _, of_row in rows for *_, high in of_row.values())])
    step = _step(largest)
    steps = max(1, math.ceil(largest / step - 1e-9))
    tall = LANE * len(series) + 10
    top = MARGIN + LINE * (len(series) + len(marks))
    left = 2 * MARGIN + CHARACTER * max(len(name) for name, _ in rows)
    frame = _Frame(left, top, top + tall * len(rows), PLOT_WIDTH / (steps * step))
    drawn = [_tick(frame, n * step) for n in range(steps + 1)]
    drawn += [_legend(frame, n, name, _colour(n)) for n, name in enumerate(series)]
    for number, (name, value) in enumerate(marks.items(), start=len(series)):
        drawn.append(frame.upright(value, INK, DASHED))
        drawn.append(_legend(frame, number, f"{name} ({value:.3f})", INK, DASHED))
    for number, row in enumerate(rows):
        drawn.append(_row(frame, top + tall * (number + 0.5), row, series))
    return _document(left + PLOT_WIDTH + 2 * MARGIN, frame.bottom + 2 * LINE, drawn)


def lines(series: Sequence[Series], below: str) -> str:
    """Draw values over whole numbers, one line a series, with their intervals.

    Parameters
    ----------
    series : sequence of (str, sequence of (int, (low, value, high)))
        At least one with a point: its name, and its points. Nothing lies below zero.
    below : str
        What the whole numbers are.

    Returns
    -------
    str
        An SVG document. Whole numbers lie by their logarithms.
    """
    points = [point for _, of_series in series for point in of_series]
    largest = max(high for _, (*_, high) in points)
    step = _step(largest)
    steps = max(1, math.ceil(largest / step - 1e-9))
    at = sorted({number for number, _ in points})
    top = MARGIN + LINE * len(series)
    plane = _Plane(5 * CHARACTER + MARGIN, top, PLOT_HEIGHT / (steps * step), at)
    drawn = [_level(plane, n * step) for n in range(steps + 1)]
    drawn += [_upright_at(plane, number) for number in at]
    for number, (name, of_series) in enumerate(series):
        y = MARGIN + LINE * number
        colour = _colour(number)
        drawn.append(_line((plane.left, y - 4), (plane.left + 14, y - 4), colour, THICK))
        drawn.append(_text((plane.left + 20, y), name, "start"))
        drawn.append(_curve(plane, of_series, colour))
    middle = plane.left + PLOT_WIDTH / 2
    drawn.append(_text((middle, plane.bottom + 2 * LINE), below, "middle"))
    return _document(plane.left + PLOT_WIDTH + 2 * MARGIN, plane.bottom + 3 * LINE, drawn)


def _level(plane: _Plane, value: float) -> str:
    y = plane.y(value)
    line = _line((plane.left, y), (plane.left + PLOT_WIDTH, y), FAINT)
    return line + _text((plane.left - 6, y + 4), f"{value:.4g}", "end")


def _upright_at(plane: _Plane, number: int) -> str:
    x = plane.x(number)
    line = _line((x, plane.top), (x, plane.bottom), FAINT)
    return line + _text((x, plane.bottom + LINE), str(number), "middle")


def _curve(plane: _Plane, points: Sequence[tuple[int, Span]], colour: str) -> str:
    """Draw points with their intervals, and the line through them."""
    ordered = sorted(points)
    drawn = []
    for number, (low, value, high) in ordered:
        x = plane.x(number)
        told = f"{value:.4f} at {number}, between {low:.4f} and {high:.4f}"
        line = _line((x, plane.y(low)), (x, plane.y(high)), colour)
        dot = f'<circle cx="{x:.1f}" cy="{plane.y(value):.1f}" r="3" fill="{colour}"/>'
        drawn.append(f"<g><title>{told}</title>{line}{dot}</g>")
    for (first, (_, begin, _)), (second, (_, end, _)) in pairwise(ordered):
        ends = (plane.x(first), plane.y(begin)), (plane.x(second), plane.y(end))
        drawn.append(_line(*ends, colour, THICK))
    return "".join(drawn)


def _step(largest: float) -> float:
    """Choose a round distance between ticks: 1, 2 or 5 times a power of ten."""
    rough = max(largest, 1e-6) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _tick(frame: _Frame, value: float) -> str:
    label = _text((frame.x(value), frame.bottom + LINE), f"{value:.4g}", "middle")
    return frame.upright(value, FAINT) + label


def _legend(frame: _Frame, number: int, name: str, colour: str, more: str = THICK) -> str:
    y = MARGIN + LINE * number
    key = _line((frame.left, y - 4), (frame.left + 14, y - 4), colour, more)
    return key + _text((frame.left + 20, y), name, "start")


def _row(frame: _Frame, middle: float, row: Row, series: Sequence[str]) -> str:
    name, of_row = row
    drawn = [_text((frame.left - MARGIN, middle + 4), name, "end")]
    for lane, one in enumerate(series):
        if one in of_row:
            y = middle + LANE * (lane - (len(series) - 1) / 2)
            drawn.append(_span(frame, y, of_row[one], _colour(lane)))
    return "".join(drawn)


def _span(frame: _Frame, y: float, span: Span, colour: str) -> str:
    low, value, high = span
    told = f"{value:.4f}, between {low:.4f} and {high:.4f}"
    line = _line((frame.x(low), y), (frame.x(high), y), colour, THICK)
    dot = f'<circle cx="{frame.x(value):.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    return f"<g><title>{told}</title>{line}{dot}</g>"


def _line(start: Point, end: Point, colour: str, more: str = "") -> str:
    ends = 'x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"'.format(*start, *end)
    return f'<line {ends} stroke="{colour}"{more}/>'


def _text(at: Point, text: str, anchor: str) -> str:
    where = f'x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}" fill="{INK}"'
    return f"<text {where}>{escape(text)}</text>"


def _document(width: float, height: float, drawn: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="monospace" font-size="12">\n'
        '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(drawn) + "\n</svg>\n"
    )
