"""Figures side by side, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from soundalike.evaluation.retrieval import Figures, Measure, Quality

DIGITS = 4


def as_json(rows: Sequence[Quality]) -> dict[str, Any]:
    """Lay figures out for a program.

    Parameters
    ----------
    rows : sequence of Quality

    Returns
    -------
    dict
        ``{"rows": [...]}``, each with ``space``, ``pooling``, ``transform`` and the figures;
        what hangs on k is an object with k as its keys. ``random`` is the precision that a
        random order would have on average, and ``intervals`` are of 95 % confidence.
    """
    return {"rows": [_row(one) for one in rows]}


def _row(one: Quality) -> dict[str, Any]:
    of = one.figures
    average = of.mean_average_precision
    return {
        "space": one.space,
        "pooling": one.pooling,
        "transform": one.transform,
        "queries": of.queries,
        "without_relevant": of.without,
        "items": of.items,
        "random": {str(k): _short(each.random) for k, each in of.precision.items()},
        "random_recall": {str(k): _short(each.random) for k, each in of.recall.items()},
        "random_map": _short(average.random),
        "precision": {str(k): _short(each.mean) for k, each in of.precision.items()},
        "recall": {str(k): _short(each.mean) for k, each in of.recall.items()},
        "map": _short(average.mean),
        "hubness": {str(k): _short(value) for k, value in of.hubness.items()},
        "intervals": {
            "precision": {str(k): _ends(each) for k, each in of.precision.items()},
            "recall": {str(k): _ends(each) for k, each in of.recall.items()},
            "map": _ends(average),
        },
    }


def _short(value: float) -> float:
    return round(value, DIGITS)


def _ends(measure: Measure) -> list[float]:
    return [_short(measure.interval.low), _short(measure.interval.high)]


def as_table(rows: Sequence[Quality]) -> str:
    """Lay figures out for a person: aligned columns, 95 % intervals in brackets.

    Parameters
    ----------
    rows : sequence of Quality
        At least one, all with the same k.

    Returns
    -------
    str
        A line of titles, one a row, and what chance would give.
    """
    figures = rows[0].figures
    titles = ["space", "pooling", "transform", *_titles(figures)]
    lines = [[one.space, one.pooling, one.transform, *_cells(one.figures)] for one in rows]
    lines.append(["chance", "", "", *_chance(figures)])
    return aligned([titles, *lines])


def _titles(figures: Figures) -> list[str]:
    ks = list(figures.precision)
    return [
        *(f"precision@{k}" for k in ks),
        f"recall@{ks[-1]}",
        "MAP",
        f"hubness@{ks[-1]}",
        "queries",
    ]


def _cells(figures: Figures) -> list[str]:
    last = list(figures.precision)[-1]
    measures = [
        *figures.precision.values(),
        figures.recall[last],
        figures.mean_average_precision,
    ]
    return [*map(_cell, measures), f"{figures.hubness[last]:.2f}", str(figures.queries)]


def _cell(measure: Measure) -> str:
    return f"{measure.mean:.3f} [{measure.interval.low:.3f} {measure.interval.high:.3f}]"


def _chance(figures: Figures) -> list[str]:
    measures: list[Measure] = [
        *figures.precision.values(),
        list(figures.recall.values())[-1],
        figures.mean_average_precision,
    ]
    return [*(f"{one.random:.3f}" for one in measures), "", ""]


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Lay cells out in columns, each as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = (zip(line, widths, strict=True) for line in lines)
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in row).rstrip() for row in rows)


def intervals(
    rows: Sequence[Quality],
) -> list[tuple[str, Mapping[str, tuple[float, float, float]]]]:
    """Lay precision out for a chart.

    Parameters
    ----------
    rows : sequence of Quality

    Returns
    -------
    list of (str, mapping of str to (low, mean, high))
        The name of each row, and what is drawn on it.
    """
    return [
        (
            f"{one.space}  {one.pooling}  {one.transform}",
            {
                f"precision at {k}": (of_k.interval.low, of_k.mean, of_k.interval.high)
                for k, of_k in one.figures.precision.items()
            },
        )
        for one in rows
    ]
