"""Rows of recommenders side by side, for people and for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from soundalike.evaluation import ranking
from soundalike.evaluation.metrics import Doubles
from soundalike.evaluation.ranking import METRICS
from soundalike.evaluation.recommendations import Result, Worth
from soundalike.evaluation.report import aligned
from soundalike.evaluation.splits import Split
from soundalike.evaluation.version import code_version

DIGITS = 6
TABLE_METRICS = ("recall", "hit_rate", "ndcg", "mrr")
CHANCE = "chance"
UNUSED = ("malformed", "no_user", "no_item", "bad_time", "bad_count", "future")
"""Of a log's report, why rows were not used."""


@dataclass(frozen=True, slots=True)
class Row:
    """A result, and the split it was found on.

    Attributes
    ----------
    result : Result
    split : Split or None
        None where it was not tried.
    mode : str
    by_chance : dict of str to dict of int to ndarray of float64
        What lists drawn by lot are worth for the same users.
    fingerprint : str
        Of the split.
    """

    result: Result
    split: Split | None
    mode: str
    by_chance: Mapping[str, Mapping[int, Doubles]]
    fingerprint: str = ""


def as_json(rows: Sequence[Row], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Lay rows out for a program.

    Parameters
    ----------
    rows : sequence of Row
    facts : mapping
        What they have in common, repeated in each.

    Returns
    -------
    dict
        ``{"formulas": {...}, "rows": [...]}``. A row that could not be tried has a ``reason`` and
        no figures. ``less_the_first`` compares a figure with the first row's, None where that is
        of other users or items.
    """
    shared = {**facts, "code": code_version()}
    formulas = {name: metric.formula for name, metric in METRICS.items()}
    first = _first_tried(rows)
    return {
        "formulas": formulas | {"average": "the mean over users with m > 0, all alike"},
        "rows": [_row(row, first or row, shared) for row in rows],
    }


def _first_tried(rows: Sequence[Row]) -> Row | None:
    return next((row for row in rows if row.result.worth is not None), None)


def _row(row: Row, first: Row, facts: Mapping[str, Any]) -> dict[str, Any]:
    result = row.result
    told: dict[str, Any] = {
        "model": result.model,
        "embedding": result.embedding,
        "mode": row.mode,
        **facts,
        "options": result.options,
        "training": result.notes,
    }
    if result.worth is None or row.split is None:
        return told | {"reason": result.reason}
    split = row.split
    return told | {
        "places": _keyed(result.worth.places),
        "users": _users(result.worth),
        "candidates": len(split.item_ids[split.candidates]),
        "counts": split.counts,
        "fingerprint": {"split": row.fingerprint, "vectors": result.vectors},
        "ties": _keyed(result.worth.ties),
        "metrics": {name: _of_metric(name, row, first, result.worth) for name in METRICS},
        "overall": {
            name: _keyed({k: _short(value) for k, value in of_k.items()})
            for name, of_k in result.worth.overall.items()
        },
    }


def _of_metric(name: str, row: Row, first: Row, worth: Worth) -> dict[str, Any]:
    return {
        str(k): {
            "mean": _short(float(values.mean())),
            "interval": [_short(end) for end in _ends(values)],
            "chance": _short(float(row.by_chance[name][k].mean())),
            "less_the_first": _told(_compared(row, first, name, k)),
        }
        for k, values in worth.of_users[name].items()
    }


def _told(found: ranking.Comparison | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "difference": _short(found.difference),
        "interval": [_short(found.interval.low), _short(found.interval.high)],
        "t": _short(found.t),
        "p": float(f"{found.p:.{DIGITS}g}"),
    }


def _users(worth: Worth) -> int:
    return len(next(iter(worth.of_users["recall"].values())))


def _keyed(of_k: Mapping[int, Any]) -> dict[str, Any]:
    return {str(k): value for k, value in of_k.items()}


def _short(value: float) -> float:
    return round(value, DIGITS)


def _ends(values: Doubles) -> tuple[float, float]:
    interval = ranking.interval(values)
    return interval.low, interval.high


def as_table(rows: Sequence[Row], k: int, metric: str) -> str:
    """Lay rows out for a person.

    Parameters
    ----------
    rows : sequence of Row
    k : int
        How long the lists are that are told of.
    metric : str
        By which each row is compared with the first that has an equal split.

    Returns
    -------
    str
        Means with 95 % intervals, the difference to the first row with the p of a paired test, and
        what lists drawn by lot are worth; below, what could not be tried.
    """
    tried = [row for row in rows if row.result.worth is not None]
    at = _at(k, tried)
    titles = [
        "model", "embedding", *(f"{name}{at}" for name in TABLE_METRICS),
        f"coverage{at}", f"novelty{at}", f"{metric}{at} less the first's", "p", "users",
    ]  # fmt: skip
    lines = [_line(row, tried[0], k, metric) for row in tried]
    if tried:
        lines.append(_chance_line(tried[0], k))
    missing = [[row.result.model, row.result.embedding, row.result.reason]
               for row in rows if row.result.worth is None]  # fmt: skip
    width = len(titles)
    return aligned([titles, *(line + [""] * (width - len(line)) for line in lines + missing)])


def _at(k: int, tried: Sequence[Row]) -> str:
    """Write k behind a figure's name; where it is that of other places, these too."""
    worth = tried[0].result.worth if tried else None
    places = worth.places[k] if worth else k
    return f"@{k}" if places == k else f"@{k} (first {places})"


def _line(row: Row, first: Row, k: int, metric: str) -> list[str]:
    result, worth = row.result, row.result.worth
    assert worth is not None  # noqa: S101  (those that were tried)
    return [
        result.model,
        result.embedding,
        *(_cell(worth.of_users[name][k]) for name in TABLE_METRICS),
        f"{worth.overall['coverage'][k]:.3f}",
        f"{worth.overall['novelty'][k]:.2f}",
        *_difference(row, first, metric, k),
        str(_users(worth)),
    ]


def _cell(values: Doubles) -> str:
    low, high = _ends(values)
    return f"{values.mean():.4f} [{low:.4f} {high:.4f}]"


def _difference(row: Row, first: Row, metric: str, k: int) -> list[str]:
    found = _compared(row, first, metric, k)
    return [f"{found.difference:+.4f}", f"{found.p:.2g}"] if found else ["", ""]


def _compared(row: Row, first: Row, metric: str, k: int) -> ranking.Comparison | None:
    """Compare with the first row, where that is another and of the same users and items."""
    worth, other = row.result.worth, first.result.worth
    if worth is None or other is None or row is first or row.fingerprint != first.fingerprint:
        return None
    return ranking.compare(worth.of_users[metric][k], other.of_users[metric][k])


def _chance_line(row: Row, k: int) -> list[str]:
    return [CHANCE, "", *(f"{row.by_chance[name][k].mean():.4f}" for name in TABLE_METRICS)]


def remarks(rows: Sequence[Row], facts: Mapping[str, Any]) -> list[str]:
    """Say in a line each what of a log and its items was not used, and how figures are meant."""
    log = facts["log"]
    unused = ", ".join(f"{name} {log[name]}" for name in UNUSED if log[name])
    lines = [
        f"{log['rows']} rows, {log['rows'] - log['used']} of them not used"
        + (f" ({unused})" if unused else "")
        + f", {log['repeated']} equal to another; {log['plays_in_window']} plays within the dates"
    ]
    for lost, items in dict.fromkeys(
        (row.split.counts["items_without_vector"], row.split.counts["items"])
        for row in rows
        if row.split is not None
    ):
        lines += [f"{lost} of {items} items have no vector and are left out"] if lost else []
    for name, count in facts["blocks"].items():
        if count["unusable"]:
            lines.append(f"{name}: {count['unusable']} rows say nothing and count as missing")
    formulas = "; ".join(f"{name} {METRICS[name].formula}" for name in TABLE_METRICS)
    return [*lines, f"{formulas}; h(r) is 1 where rank r holds one of the m items of a user"]


def as_csv(rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    """Lay rows out with one figure a line: model, embedding, mode, metric, k, mean, ends, ..."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["model", "embedding", "mode", "protocol", "preset", "seed", "metric", "k", "mean", "low",
         "high", "chance", "users", "candidates", "start", "test", "end", "options", "split",
         "vectors", "code", "metric_k", "reason"]
    )  # fmt: skip
    version = code_version()
    for row in rows:
        for figure in _figures(row):
            writer.writerow(_csv_line(row, facts, figure, version))
    return out.getvalue()


def _figures(row: Row) -> Iterator[list[Any]]:
    worth = row.result.worth
    if worth is None:
        yield [""] * 6
        return
    for name, of_k in worth.of_users.items():
        for k, values in of_k.items():
            chance = float(row.by_chance[name][k].mean())
            numbers = (float(values.mean()), *_ends(values), chance)
            yield [name, k, *(_short(number) for number in numbers)]
    for name, single in worth.overall.items():
        for k, value in single.items():
            yield [name, k, _short(value), "", "", ""]


def _csv_line(row: Row, facts: Mapping[str, Any], figure: list[Any], version: str) -> list[Any]:
    result, split = row.result, row.split
    options = ";".join(f"{name}={value}" for name, value in result.options.items())
    return [
        result.model, result.embedding, row.mode, facts["protocol"], facts["preset"], facts["seed"],
        *figure,
        _users(result.worth) if result.worth else "",
        len(split.item_ids[split.candidates]) if split else "",
        *facts["dates"].values(), options, row.fingerprint, result.vectors or "", version,
        facts["metric_k"], result.reason,
    ]  # fmt: skip


def series(
    rows: Sequence[Row], metric: str
) -> list[tuple[str, list[tuple[int, tuple[float, float, float]]]]]:
    """Lay a metric out for a chart over k.

    Returns
    -------
    list of (str, list of (k, (low, mean, high)))
    """
    return [
        (
            f"{row.result.model} {row.result.embedding}",
            [
                (k, (low, float(values.mean()), high))
                for k, values in row.result.worth.of_users[metric].items()
                for low, high in [_ends(values)]
            ],
        )
        for row in rows
        if row.result.worth is not None
    ]
